"""The program behind `leash`: reads what to hold, and lets nothing outlive the end of its input.

Started as a file, without site-packages: the standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

GRACE_SECONDS = 10.0
"""From the polite signal to SIGKILL."""


def collect(lines: Iterable[str]) -> tuple[dict[int, int], set[str]]:
    """Read commands to the end: the processes (with their stop signals) and folders still held."""
    processes: dict[int, int] = {}
    folders: set[str] = set()
    for line in lines:
        match json.loads(line):
            case ["hold", pid, stop_signal]:
                processes[pid] = stop_signal
            case ["release", pid]:
                processes.pop(pid, None)
            case ["hold_folder", folder]:
                folders.add(folder)
            case ["release_folder", folder]:
                folders.discard(folder)
    return processes, folders


def end(processes: dict[int, int]) -> None:
    """Stop the processes as asked, and after the grace period by force, with all of their group."""
    running = [pid for pid, stop_signal in processes.items() if _send(os.kill, pid, stop_signal)]
    for pid in running:
        # A stopped process heeds no polite signal.
        _send(os.kill, pid, signal.SIGCONT)
    deadline = time.monotonic() + GRACE_SECONDS
    while running and time.monotonic() < deadline:
        time.sleep(0.02)
        running = [pid for pid in running if _send(os.kill, pid, 0) and not _is_zombie(pid)]
    for pid in processes:
        _send(os.killpg, pid, signal.SIGKILL)


def _send(kill: Callable[[int, int], None], pid: int, number: int) -> bool:
    try:
        kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _is_zombie(pid: int) -> bool:
    """Ended, but not reaped: in a container, process 1 may reap nobody."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(") ")[2].startswith("Z")


def main() -> None:
    """Hold on until the other end of the pipe is gone, however its owner died."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    processes, folders = collect(sys.stdin)
    end(processes)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
