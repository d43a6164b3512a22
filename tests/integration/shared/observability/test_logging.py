"""All lines of a process are written when it exits, and a forked process writes its own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

CONFIGURED = """
import atexit, logging, os, sys, threading
import structlog
from shared.observability.logging import configure_logging

def log_many(who):
    for number in range(500):
        log.info("line", who=who, number=number)

configure_logging("json")
log = structlog.get_logger("test")
"""


def run(code: str) -> tuple[int, list[dict[str, object]]]:
    """Run a program; its exit code and the records on its stderr."""
    ended = subprocess.run(
        # From 3.12 on a fork beside threads warns on stderr, among the records.
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            CONFIGURED + textwrap.dedent(code),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, [json.loads(line) for line in ended.stderr.splitlines()]


@pytest.mark.parametrize(("end", "code"), [("pass", 0), ("raise SystemExit(3)", 3)])
def test_every_line_is_written_at_exit(end: str, code: int) -> None:
    """Also those that exit functions log, which run before logging itself is shut down."""
    returned, records = run(f"""
        atexit.register(log_many, "exit function")
        log_many("main")
        {end}
    """)
    assert returned == code
    assert [record["number"] for record in records] == [*range(500), *range(500)]


def test_a_forked_process_logs_too_and_nothing_twice() -> None:
    """The child has a writing thread of its own; lines of the parent are not written by it."""
    returned, records = run("""
        speaker = threading.Thread(target=log_many, args=("thread",))
        log_many("parent")
        speaker.start()
        child = os.fork()
        if child == 0:
            log_many("child")
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        log_many("parent again")
        speaker.join()
    """)
    assert returned == 0
    for who in ("parent", "thread", "child", "parent again"):
        assert [one["number"] for one in records if one["who"] == who] == list(range(500)), who


def test_logging_configured_again_loses_no_line() -> None:
    """As in a worker, which configures it before its checks and when Celery sets up logging."""
    returned, records = run("""
        log_many("first")
        configure_logging("json")
        log_many("second")
    """)
    assert returned == 0
    assert len(records) == 1000
