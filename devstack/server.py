"""What the PostgreSQL and the Redis server share: a folder, a process, start, stop and kill."""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Self

from devstack import orphan_reaper
from devstack.process import ChildProcess
from devstack.wait import wait_for

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


class ServerNotStarted(RuntimeError):
    """The server ended during its start; the text has the end of its log."""


class LocalServer(ABC):
    """A server that ends with this process at the latest; a context manager.

    Started again after a stop or a crash, it has the same URL and the same data.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[int]
    """Makes it write all data out and end."""
    kill_signal: ClassVar[int]
    """Makes it end at once."""

    def __init__(self, folder: Path | None = None) -> None:
        """Start nothing yet; `folder` keeps the data between runs, None: a temporary folder."""
        self._keeps_data = folder is not None
        self._folder = folder and folder.resolve()
        self._temporary = ExitStack()
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def process(self) -> ChildProcess:
        """The running process; RuntimeError when the server is down."""
        if self._process is None or self._process.returncode is not None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process

    @property
    def pid(self) -> int:
        """The number of the running process; RuntimeError when the server is down."""
        return self.process.pid

    def start(self) -> None:
        """Start the server unless it runs, and return once it answers.

        Raises:
            ServerNotStarted: it ended at once.
            TimeoutError: it does not answer.
        """
        if self._process is None or self._process.returncode is not None:
            self._folder = self._folder or self._temporary_folder()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._start(self._folder)

    def stop(self) -> None:
        """Shut down cleanly: the data is written out."""
        if self._process is not None:
            self._process.stop(_STOP_SECONDS, self.stop_signal)

    def kill(self) -> None:
        """End at once, as in a crash."""
        if self._process is not None:
            self._process.stop(_STOP_SECONDS, self.kill_signal)

    def close(self) -> None:
        """End the server for good, and remove its temporary folders."""
        (self.stop if self._keeps_data else self.kill)()
        self._temporary.close()

    @abstractmethod
    def _start(self, folder: Path) -> None:
        """Prepare the folder and call `_launch`."""

    def _launch(
        self, argv: Sequence[str], log: Path, answers: Callable[[int], bool], **options: Any
    ) -> None:
        """Start the process, with these options of Popen, and wait until `answers(pid)`."""
        stop_signal = self.stop_signal if self._keeps_data else self.kill_signal
        process = ChildProcess(argv, log, stop_signal=stop_signal, **options)
        self._process = process

        def is_up() -> bool:
            if (code := process.returncode) is not None:
                tail = process.log_tail()
                raise ServerNotStarted(f"{self.name} ended at once (status {code}):\n{tail}")
            return answers(process.pid)

        wait_for(is_up, _START_SECONDS, f"{self.name} to answer")

    def _temporary_folder(self, base: str | None = None) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="payouts-", dir=base)).resolve()
        orphan_reaper.watch(folder)
        self._temporary.callback(orphan_reaper.release, folder)
        self._temporary.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder
