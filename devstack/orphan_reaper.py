"""Nothing that we start outlives us, not even when we are killed with SIGKILL.

A small helper process holds the reading end of a pipe. When this process ends in whatever way, the
kernel closes the writing end, and the helper stops what is still held and removes its folders.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from devstack import orphan_reaper_main


class _Reaper:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = os.getpid()
        # Its own session, so that Ctrl-C does not reach it; no output of ours is kept open by it.
        self._holder = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", orphan_reaper_main.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            text=True,
        )
        atexit.register(self.close)

    def tell(self, *command: str | int) -> None:
        if os.getpid() != self._owner:
            return
        pipe = self._holder.stdin
        with self._lock, suppress(BrokenPipeError, ValueError):
            if pipe is not None:
                pipe.write(json.dumps(command) + "\n")
                pipe.flush()

    def close(self) -> None:
        if os.getpid() != self._owner:
            return
        with suppress(OSError, subprocess.TimeoutExpired):
            self._holder.communicate(timeout=orphan_reaper_main.GRACE_SECONDS + 2)


@cache
def _reaper() -> _Reaper:
    return _Reaper()


def watch(pid: int, stop_signal: int = signal.SIGTERM) -> None:
    """End this leader of a process group, by this signal first, when we are gone."""
    _reaper().tell("hold", pid, int(stop_signal))


def release(pid: int) -> None:
    """The process has ended; its number may soon be somebody else's."""
    _reaper().tell("release", pid)


def watch_folder(folder: Path) -> None:
    """Remove this folder, with all that is in it, when we are gone."""
    _reaper().tell("hold_folder", str(folder))


def release_folder(folder: Path) -> None:
    """The folder is gone, or is to stay."""
    _reaper().tell("release_folder", str(folder))
