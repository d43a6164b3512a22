"""The demo, run as anybody runs it, and what its processes wrote down."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from ops.demo.scenario import plan_payouts
from tests.support.service import API_KEY, PROGRAMS, bare_environment

COUNT = 100
LIMIT = ["--limit", "240"]
WRITERS = {"gateway", "worker", "reconciler", "beat", "webhook"}


@dataclass(frozen=True)
class Demo:
    """One run of the demo."""

    code: int
    output: str
    lines: Sequence[str]
    """Of all logs."""
    writers: set[str]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """`payouts demo` on servers of its own, in an empty folder."""
    folder = tmp_path_factory.mktemp("demo")
    ended = subprocess.run(
        [
            str(PROGRAMS / "payouts"),
            "demo",
            *LIMIT,
            "--count",
            str(COUNT),
            "--logs",
            str(folder / "logs"),
        ],
        cwd=folder,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    logs = sorted((folder / "logs").glob("*.log"))
    lines = [line for log in logs for line in log.read_text().splitlines()]
    return Demo(ended.returncode, ended.stdout + ended.stderr, lines, {log.stem for log in logs})


def _summary(demo: Demo, what: str) -> int:
    found = re.search(rf"^ *{what} +(\d+) *$", demo.output, re.MULTILINE)
    assert found, demo.output
    return int(found[1])


def test_demo_keeps_every_promise(demo: Demo) -> None:
    """Exit 0; all asked for, none paid twice, none open, all told."""
    assert demo.code == 0, demo.output
    ends = [payout.end for payout in plan_payouts(COUNT)]
    assert _summary(demo, "requested") == COUNT
    assert _summary(demo, "paid once") == ends.count("succeeded")
    assert _summary(demo, "paid twice") == 0
    assert _summary(demo, "still open") == 0
    assert _summary(demo, "notified") == COUNT
    for end in set(ends):
        assert _summary(demo, end) == ends.count(end)
    assert f"All {COUNT} payouts have the right final status." in demo.output
    assert "BROKEN" not in demo.output


def test_every_process_writes_a_log(demo: Demo) -> None:
    """--logs keeps one file for each process, and none is empty."""
    assert demo.writers == WRITERS
    assert len(demo.lines) > COUNT


def test_no_log_holds_a_secret(demo: Demo) -> None:
    """No API key, no whole account number, no pin code, no signature, in any line of any log."""
    text = "\n".join(demo.lines)
    assert API_KEY not in text
    assert [payout.account_no for payout in plan_payouts(COUNT) if payout.account_no in text] == []
    assert not re.search(r"pin_?code", text, re.IGNORECASE)
    assert not re.search(r"\b[0-9A-F]{64}\b", text)


def test_no_log_holds_a_surprise(demo: Demo) -> None:
    """All that the gateway does is expected: no traceback, nothing unexpected, no error."""
    assert [line for line in demo.lines if line.startswith("Traceback")] == []
    errors = [line for line in demo.lines if "[error " in line or "[critical " in line]
    # SIGTERM at the end of the demo may find beat in the middle of a publish
    farewell = re.compile(r"Couldn't apply scheduled task \w+: I/O operation on closed file")
    assert [line for line in errors if not farewell.search(line)] == []
    assert [line for line in demo.lines if "raised unexpected" in line] == []
