"""A set of named processes that are stopped together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from devstack.process import ChildProcess


class ProcessGroup:
    """Starts, kills and restarts processes by name; leaving the context ends them all."""

    def __init__(self, grace: float = 10.0) -> None:
        """`grace` is the default time from SIGTERM to SIGKILL, in seconds."""
        self._grace = grace
        self._processes: dict[str, ChildProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.terminate_all()

    def __getitem__(self, name: str) -> ChildProcess:
        """The newest process of this name; KeyError if there was none."""
        return self._processes[name]

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        log_path: Path = Path("/dev/null"),
    ) -> ChildProcess:
        """Start a process; its output is appended to `log_path`, `env` is its whole environment.

        Raises:
            ValueError: a process of this name is running.
            OSError: the program cannot be started.
        """
        old = self._processes.get(name)
        if old is not None and old.returncode is None:
            raise ValueError(f"{name} is running already (pid {old.pid})")
        self._processes[name] = ChildProcess(argv, log_path, name=name, env=env)
        return self._processes[name]

    def stop(self, name: str, grace: float | None = None) -> int:
        """Send SIGTERM, and SIGKILL after the grace period, in seconds; returns the exit status."""
        return self._processes[name].stop(self._grace if grace is None else grace)

    def restart(self, name: str) -> ChildProcess:
        """Stop the process if it runs, and start it with the same command, environment and log."""
        old = self._processes[name]
        self.stop(name)
        return self.start(name, old.argv, old.env, old.log_path)

    def poll(self) -> dict[str, int]:
        """The exit statuses of the processes that have ended."""
        codes = {name: process.returncode for name, process in self._processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def terminate_all(self, grace: float | None = None) -> list[str]:
        """Send SIGTERM to all at once, and SIGKILL after the grace period to those that still run.

        Returns:
            The names of the processes that had to be killed.
        """
        deadline = time.monotonic() + (self._grace if grace is None else grace)
        newest_first = list(self._processes.values())[::-1]
        for process in newest_first:
            process.terminate()
        killed = []
        for process in newest_first:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                process.kill()
                killed.append(process.name)
        return killed
