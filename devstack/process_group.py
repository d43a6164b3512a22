"""A set of named processes that live and die together: what `payouts dev` and the drills run."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.process import ChildProcess

DEFAULT_GRACE_SECONDS = 10.0
"""From SIGTERM to SIGKILL, where nothing else is said."""


@dataclass
class Process:
    """One named process, and how it was started."""

    name: str
    argv: tuple[str, ...]
    log_path: Path
    child: ChildProcess
    env: Mapping[str, str] | None = field(default=None, repr=False)
    """The whole environment, None for ours. Not shown: it may hold secrets."""

    @property
    def pid(self) -> int:
        """The number of the process and of its group."""
        return self.child.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs, then its exit status."""
        return self.child.returncode()


class ProcessGroup:
    """Starts, kills and restarts processes by name; leaving the context ends them all."""

    def __init__(self, grace: float = DEFAULT_GRACE_SECONDS) -> None:
        self._grace = grace
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate_all()

    def __getitem__(self, name: str) -> Process:
        """The newest process of this name; KeyError when there never was one."""
        return self._processes[name]

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        log_path: Path = Path("/dev/null"),
    ) -> Process:
        """Start a process; its output is appended to `log_path`, `env` is its whole environment.

        Raises:
            ValueError: one of this name is running.
            OSError: the program cannot be started.
        """
        if name in self._processes and self._processes[name].returncode is None:
            raise ValueError(f"{name} is running already (pid {self._processes[name].pid})")
        child = ChildProcess.launch(argv, log_path, env=env)
        self._processes[name] = Process(name, tuple(argv), log_path, child, env)
        return self._processes[name]

    def send_signal(self, name: str, number: int) -> None:
        """Send a signal to the process alone, for example SIGSTOP and SIGCONT."""
        self._processes[name].child.send_signal(number)

    def stop(self, name: str, grace: float | None = None) -> int:
        """SIGTERM, and SIGKILL after the grace period. Returns the exit status."""
        return self._processes[name].child.stop(self._grace if grace is None else grace)

    def kill(self, name: str) -> int:
        """SIGKILL for the process and its children, at once. Returns the exit status."""
        return self._processes[name].child.kill()

    def restart(self, name: str, grace: float | None = None) -> Process:
        """Stop the process if it runs, and start it again as it was started."""
        old = self._processes[name]
        self.stop(name, grace)
        return self.start(name, old.argv, old.env, old.log_path)

    def poll(self) -> dict[str, int]:
        """The exit statuses of the processes that are not running now."""
        codes = {name: process.returncode for name, process in self._processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def terminate_all(self, grace: float | None = None) -> list[str]:
        """SIGTERM for all at once, the newest first; SIGKILL for what is left after the grace.

        Returns:
            The names of those that had to be killed.
        """
        deadline = time.monotonic() + (self._grace if grace is None else grace)
        newest_first = list(self._processes.values())[::-1]
        for process in newest_first:
            process.child.send_signal(signal.SIGTERM)
            process.child.send_signal(signal.SIGCONT)  # a stopped process heeds no SIGTERM
        killed = []
        for process in newest_first:
            try:
                process.child.wait(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                process.child.kill()
                killed.append(process.name)
        return killed
