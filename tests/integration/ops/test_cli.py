"""The `payouts` command as a whole: what it loads, its version, its table of commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
import typer.main

from ops.cli import COMMANDS, make_app
from tests.support.paths import ROOT

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
