"""Ends the processes and removes the folders of this process when it dies, even by SIGKILL.

A helper process reads a pipe from this process. However this process ends, the kernel closes the
pipe, and the helper cleans up everything still registered. The helper runs this file without
site-packages: it imports the standard library only.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

GRACE_SECONDS = 10.0
"""From the stop signal to SIGKILL."""

_lock = threading.Lock()


def watch(what: int | Path, stop_signal: int | None = signal.SIGTERM) -> None:
    """Register a folder, or the leader of a process group, which gets `stop_signal` first."""
    with _lock, suppress(BrokenPipeError, ValueError):  # this process is ending
        helper, parent = _start_helper()
        if os.getpid() == parent:  # not in a fork
            print(json.dumps([what, stop_signal], default=str), file=helper.stdin, flush=True)


def release(what: int | Path) -> None:
    """Unregister a removed folder, or an ended process before the system reuses its number."""
    watch(what, None)


@cache
def _start_helper() -> tuple[subprocess.Popen[str], int]:
    # A session of its own: Ctrl-C does not reach it. No output: it holds no file of ours open.
    helper = subprocess.Popen(  # noqa: S603
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        text=True,
    )
    atexit.register(_close, helper, os.getpid())
    return helper, os.getpid()


def _close(helper: subprocess.Popen[str], parent: int) -> None:
    if os.getpid() == parent:
        with suppress(OSError, subprocess.TimeoutExpired):
            helper.communicate(timeout=GRACE_SECONDS + 2)


def collect(lines: Iterable[str]) -> dict[int | str, int]:
    """Read all commands; return the processes and folders still watched, with their signals."""
    watched = dict(json.loads(line) for line in lines)
    return {what: number for what, number in watched.items() if number is not None}


def end(processes: dict[int, int]) -> None:
    """Send each process its stop signal, and SIGKILL to its group after the grace period."""
    for pid, stop_signal in processes.items():
        _kill(os.kill, pid, stop_signal)
        _kill(os.kill, pid, signal.SIGCONT)  # a stopped process handles no other signal
    deadline = time.monotonic() + GRACE_SECONDS
    while any(map(_is_running, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in processes:
        _kill(os.killpg, pid, signal.SIGKILL)


def _kill(send: Callable[[int, int], None], pid: int, number: int) -> bool:
    try:
        send(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _is_running(pid: int) -> bool:
    with suppress(OSError):  # it has ended, or this is no Linux
        # Containers without an init keep ended processes as zombies.
        stat = Path("/proc", str(pid), "stat").read_text(errors="replace")
        return not stat.rpartition(") ")[2].startswith("Z")
    return _kill(os.kill, pid, 0)


if __name__ == "__main__":
    # The helper: read commands until the parent process has ended, then clean up.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched = collect(sys.stdin)
    end({what: number for what, number in watched.items() if isinstance(what, int)})
    for what in watched:
        if isinstance(what, str):
            shutil.rmtree(what, ignore_errors=True)
