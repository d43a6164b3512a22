"""Named processes: started, killed, restarted, ended, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.process_group import ProcessGroup
from devstack.wait import wait_for
from tests.support.paths import ROOT

SLEEP = ("/bin/sh", "-c", "echo up; exec sleep 600")
STUBBORN = ("/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
PARENT = ("/bin/sh", "-c", "sleep 600 & echo $!; wait")


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    """A group that leaves nothing behind."""
    with ProcessGroup(grace=60) as processes:
        yield processes


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the processes of the test write to."""
    return tmp_path / "output.log"


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return not stat.rpartition(") ")[2].startswith("Z")


def says(log: Path, text: str, times: int = 1) -> Callable[[], bool]:
    """Whether the log has the text so many times."""
    return lambda: log.exists() and log.read_text().count(text) >= times


def child_of(log: Path) -> int:
    """The number that PARENT printed."""
    return wait_for(lambda: int(log.read_text() or 0) or None, 60, "the child's number")


def test_output_and_environment(group: ProcessGroup, log: Path) -> None:
    """stdout and stderr go to the log; the environment is the one given and no other."""
    process = group.start("echo", ("/bin/sh", "-c", "echo $A; echo b$HOME >&2"), {"A": "key"}, log)

    assert process.wait(60) == 0
    assert log.read_text() == "key\nb\n"
    assert "key" not in repr(process), "the environment may hold secrets"


def test_poll_reports_the_dead(group: ProcessGroup, log: Path) -> None:
    """A process that ended by itself is reported with its exit status, a running one is not."""
    group.start("fails", ("/bin/sh", "-c", "exit 3"), None, log)
    group.start("sleeps", SLEEP, None, log)

    assert wait_for(lambda: group.poll() or None, 60, "an end") == {"fails": 3}


def test_kill_takes_the_children_along(group: ProcessGroup, log: Path) -> None:
    """SIGKILL reaches the whole process group."""
    group.start("parent", PARENT, None, log)
    child = child_of(log)

    assert group["parent"].kill() == -signal.SIGKILL

    wait_for(lambda: not is_running(child), 60, "the child to end")
    assert group.poll() == {"parent": -signal.SIGKILL}


def test_orphans_of_a_dead_process_are_killed(group: ProcessGroup, log: Path) -> None:
    """What a process leaves running in its group ends when its death is noticed."""
    group.start("parent", ("/bin/sh", "-c", "sleep 600 & echo $!"), None, log)
    child = child_of(log)

    wait_for(lambda: "parent" in group.poll(), 60, "the parent to end")

    wait_for(lambda: not is_running(child), 60, "the child to end")


def test_restart_keeps_everything_but_the_number(group: ProcessGroup, log: Path) -> None:
    """A restarted process has the same command, environment and log, and another pid."""
    first = group.start("echo", ("/bin/sh", "-c", "echo $A; exec sleep 600"), {"A": "up"}, log)
    wait_for(says(log, "up"), 60, "the first start")

    second = group.restart("echo")

    assert second.pid != first.pid
    assert first.returncode == -signal.SIGTERM
    wait_for(says(log, "up", times=2), 60, "the second start")
    assert group["echo"] is second


def test_one_name_one_process(group: ProcessGroup, log: Path) -> None:
    """A name in use is refused while its process runs, and free again afterwards."""
    group.start("one", SLEEP, None, log)

    with pytest.raises(ValueError, match="one is running already"):
        group.start("one", SLEEP, None, log)

    group["one"].kill()
    assert group.start("one", SLEEP, None, log).returncode is None


def test_terminate_all_kills_the_stubborn(group: ProcessGroup, log: Path) -> None:
    """All get SIGTERM at once; who ignores it for the grace period is killed, and named."""
    group.start("polite", SLEEP, None, log)
    group.start("stubborn", STUBBORN, None, log)
    wait_for(says(log, "up", times=2), 60, "both to be up")

    assert group.terminate_all(grace=2) == ["stubborn"]

    assert group.poll() == {"polite": -signal.SIGTERM, "stubborn": -signal.SIGKILL}
    assert group.terminate_all() == []


def test_stopped_process_can_be_ended(group: ProcessGroup, log: Path) -> None:
    """A process frozen by SIGSTOP is woken to heed its SIGTERM."""
    group.start("frozen", SLEEP, None, log)
    wait_for(says(log, "up"), 60, "it to be up")
    group["frozen"].send_signal(signal.SIGSTOP)

    assert group.stop("frozen") == -signal.SIGTERM


def test_signal_to_a_dead_process_does_nothing(group: ProcessGroup, log: Path) -> None:
    """Once it ended, its number may be somebody else's: no signal is sent."""
    group.start("dead", ("/bin/true",), None, log)
    group["dead"].wait(60)

    group["dead"].send_signal(signal.SIGKILL)

    assert group["dead"].kill() == 0


def test_exception_ends_the_processes(log: Path) -> None:
    """Leaving the context by an error ends them too."""
    group = ProcessGroup()

    def fail() -> None:
        with group:
            group.start("sleeps", SLEEP, None, log)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert group.poll() == {"sleeps": -signal.SIGTERM}


OWNER = """
import signal, sys, time
from pathlib import Path
from devstack import orphan_reaper
from devstack.process_group import ProcessGroup
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background
folder = Path(sys.argv[1])
orphan_reaper.watch(folder)
process = ProcessGroup().start("sleeps", ["/bin/sleep", "600"])
print(process.pid, flush=True)
if sys.argv[2] == "raise":
    raise SystemExit("on purpose")
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["raise", "SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_outlives_its_owner(tmp_path: Path, end: str) -> None:
    """However the owner ends, its processes end and its temporary folders go."""
    held = tmp_path / "held"
    held.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(held), end],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        if end != "raise":
            assert is_running(pid)
            owner.send_signal(signal.Signals[end])
        owner.wait(60)

    wait_for(lambda: not is_running(pid), 60, "the process to end")
    wait_for(lambda: not held.exists(), 60, "the folder to go")
