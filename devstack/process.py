"""One process that we started: its own session and process group, its output in a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from devstack import orphan_reaper
from devstack.wait import wait_for

_KILL_SECONDS = 10.0
_TAIL_BYTES = 4000


class ChildProcess:
    """A running or ended process of ours.

    Signals go to it only while it is not reaped: until then the kernel keeps its number for us, so
    no other process can be hit.
    """

    def __init__(self, popen: subprocess.Popen[bytes], log_path: Path) -> None:
        self._popen = popen
        self._lock = threading.RLock()
        self.log_path = log_path

    @classmethod
    def launch(
        cls,
        argv: Sequence[str],
        log_path: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
        group: int | None = None,
        stop_signal: int = signal.SIGTERM,
    ) -> Self:
        """Start a process that ends with us at the latest.

        Args:
            argv: the program and its arguments; no shell is involved.
            log_path: stdout and stderr are appended to it.
            env: the whole environment; None: ours.
            cwd: the working folder; None: ours.
            user: numeric user to become (only root may), without supplementary groups.
            group: numeric group to become with it.
            stop_signal: what ends it politely, should we be gone without having stopped it.

        Raises:
            OSError: the program cannot be started.
        """
        with log_path.open("ab") as log:
            popen = subprocess.Popen(  # noqa: S603
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                start_new_session=True,
            )
        orphan_reaper.watch(popen.pid, stop_signal)
        return cls(popen, log_path)

    @property
    def pid(self) -> int:
        """The process number, which is also the number of its group."""
        return self._popen.pid

    def returncode(self) -> int | None:
        """None while it runs, then the exit status (minus the signal's number, if one ended it).

        What an ended process left running in its group is killed.
        """
        with self._lock:
            if self._popen.returncode is None and self._has_exited():
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
                self._popen.wait()
                orphan_reaper.release(self.pid)
            return self._popen.returncode

    def _has_exited(self) -> bool:
        waiting = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.pid, waiting) is not None
        except ChildProcessError:
            return True

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone; nothing happens when it has ended."""
        with self._lock:
            if self.returncode() is None:
                os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """The exit status, once it has ended.

        Raises:
            TimeoutError: it still runs after these seconds.
        """
        return wait_for(self.returncode, timeout, f"process {self.pid} to end")

    def stop(self, grace: float, stop_signal: int = signal.SIGTERM) -> int:
        """Ask it to end; after `grace` seconds kill it. Returns the exit status."""
        self.send_signal(stop_signal)
        self.send_signal(signal.SIGCONT)  # a stopped process heeds no polite signal
        try:
            return self.wait(grace)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL for it and all of its group. Returns the exit status."""
        with self._lock:
            if self.returncode() is None:
                os.killpg(self.pid, signal.SIGKILL)
        return self.wait(_KILL_SECONDS)

    def log_tail(self) -> str:
        """The last lines of the log, for a message to a person."""
        with self.log_path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            return log.read().decode(errors="replace").strip()
