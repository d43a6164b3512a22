"""A child process with its own session and process group, and its output in a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from devstack import orphan_reaper
from devstack.wait import wait_for

_KILL_SECONDS = 10.0
_TAIL_CHARACTERS = 4000


class ChildProcess:
    """A process that ends with this one at the latest.

    Signals are sent only before it is reaped: until then the kernel keeps its number, so no other
    process can be hit.
    """

    def __init__(
        self,
        argv: Sequence[str],
        log_path: Path,
        *,
        name: str = "",
        env: Mapping[str, str] | None = None,
        stop_signal: int = signal.SIGTERM,
        **popen_options: Any,
    ) -> None:
        """Start it.

        Args:
            argv: the program and its arguments; no shell is involved.
            log_path: stdout and stderr are appended to it.
            name: for messages.
            env: the whole environment, which may hold secrets; None: that of this process.
            stop_signal: ends it if this process dies first.
            popen_options: further arguments of `subprocess.Popen`, for example cwd.

        Raises:
            OSError: the program cannot be started.
        """
        self.name = name
        self.argv = tuple(argv)
        self.env = env
        self.log_path = log_path
        self._lock = threading.RLock()
        with log_path.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                **popen_options,
            )
        orphan_reaper.watch(self.pid, stop_signal)

    @property
    def pid(self) -> int:
        """The process number, which is also the number of its group."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs, then the exit status (minus the signal's number, if one ended it).

        The rest of its process group is killed once it has ended.
        """
        with self._lock:
            if self._popen.returncode is None:
                with suppress(ChildProcessError):  # it was reaped already
                    if not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                        return None
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
                self._popen.wait()
                orphan_reaper.release(self.pid)
            return self._popen.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone; nothing happens when it has ended."""
        with self._lock:
            if self.returncode is None:
                os.kill(self.pid, number)

    def terminate(self, stop_signal: int = signal.SIGTERM) -> None:
        """Send a signal that asks it to end."""
        self.send_signal(stop_signal)
        self.send_signal(signal.SIGCONT)  # a stopped process handles no other signal

    def wait(self, timeout: float) -> int:
        """Return the exit status once it has ended; TimeoutError after these seconds."""
        return wait_for(lambda: self.returncode, timeout, f"process {self.pid} to end")

    def stop(self, grace: float, stop_signal: int = signal.SIGTERM) -> int:
        """Ask it to end, and kill it after `grace` seconds. Returns the exit status."""
        self.terminate(stop_signal)
        try:
            return self.wait(grace)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        """Send SIGKILL to it and its process group. Returns the exit status."""
        with self._lock:
            if self.returncode is None:
                os.killpg(self.pid, signal.SIGKILL)
        return self.wait(_KILL_SECONDS)

    def log_tail(self) -> str:
        """The last lines of the log."""
        return self.log_path.read_text(errors="replace")[-_TAIL_CHARACTERS:].strip()
