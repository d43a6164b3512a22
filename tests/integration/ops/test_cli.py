"""The `payouts` command as a whole: what it loads, its version, its table of commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main
from sqlalchemy import Engine

from ops.cli import COMMANDS, make_app
from shared.clock import utcnow
from shared.domain import review
from shared.domain.payout import PayoutState, Transition
from shared.storage.payout_store import PayoutStore
from tests.support.commands import BY, queued
from tests.support.paths import PROGRAMS, ROOT

_LOADED = """
import sys
from ops import cli
sys.argv = ["payouts", *{arguments!r}]
try:
    cli.main()
except SystemExit:
    print("loaded:", *{{name.partition(".")[0] for name in sys.modules}})
"""


def loaded(*arguments: str) -> set[str]:
    """The top-level modules that a call of `payouts` imports."""
    code = _LOADED.format(arguments=arguments)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    last = ran.stdout.splitlines()[-1]
    assert last.startswith("loaded: ")
    return set(last.split()[1:])


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [
        (["--help"], {"celery", "sqlalchemy", "pydantic", "redis", "requests"}),
        (["--version"], {"celery", "sqlalchemy", "pydantic", "redis", "requests"}),
        (["list", "--help"], {"celery", "alembic", "redis", "requests"}),
        (["review", "--help"], {"celery", "alembic", "redis", "requests"}),
    ],
)
def test_a_call_imports_only_what_it_needs(arguments: list[str], left_out: set[str]) -> None:
    """Else every call takes seconds."""
    assert not loaded(*arguments) & left_out


def test_the_version_is_printed(payouts: Callable[..., Any]) -> None:
    ran = payouts("--version")
    assert (ran.code, ran.out) == (0, f"{version('epay-payouts')}\n")


def test_every_command_of_the_table_can_be_loaded(payouts: Callable[..., Any]) -> None:
    """And has a docstring for its own help."""
    app: Any = typer.main.get_command(make_app(COMMANDS))
    assert set(app.commands) == set(COMMANDS)
    assert all(command.help for command in app.commands.values())


def test_the_help_groups_the_commands(payouts: Callable[..., Any]) -> None:
    """The old name of a command works, and is not listed."""
    shown = payouts("--help").out
    for name, command in COMMANDS.items():
        assert (f" {name} " in shown) == (not command.hidden)
        assert f"─ {command.panel} ─" in shown
    assert "--history" in payouts("brakes", "--help").out


def test_help_ends_with_the_exit_codes(run: Any) -> None:
    words = " ".join(run("--help").out.split())
    assert "Exit codes: 0 done; 1" in words
    assert "3 a rule forbids it; 130 interrupted" in words


def completed(home: Path, *arguments: str, **environment: str) -> str:
    """What `payouts` prints as a shell would run it."""
    command = [str(PROGRAMS / "payouts"), *arguments]
    names = {"HOME": str(home), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ran = subprocess.run(
        command, env=os.environ | names | environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_completion(tmp_path: Path) -> None:
    """The shell's script is printed, and it completes the acts."""
    script = completed(tmp_path, "--show-completion", "bash")
    assert "_payouts_completion" in script
    words = {"_PAYOUTS_COMPLETE": "complete_bash", "COMP_WORDS": "payouts resolve order-1 re"}
    offered = completed(tmp_path, **words, COMP_CWORD="3").split()
    assert offered == ["resend", "reject", "release"]


def test_nothing_is_coloured_in_a_pipe(run: Any, engine: Engine) -> None:
    """No escape reaches a pipe, whoever wrote it: neither rich nor EPAY."""
    payout = queued(engine, "order-1")

    def decide(fresh: PayoutState) -> Transition:
        return Transition(fresh, review.flag(fresh, review.MISMATCH, "\x1b[31mred\x9b", utcnow()))

    PayoutStore(engine).update(payout.id, decide)
    for command in (
        ["list"],
        ["list", "--csv"],
        ["list", "--json"],
        ["review"],
        ["review", "--json"],
        ["show", "order-1"],
        ["show", "order-1", "--json"],
        ["doctor"],
        ["resolve", "order-1", "settle", *BY, "--yes"],
        ["resolve", "--help"],
    ):
        ran = run(*command)
        assert not {"\x1b", "\x9b"} & set(ran.out + ran.err), command
