"""One thread that runs actions when their time has come."""

from __future__ import annotations

import contextlib
import logging
import sched
import threading
import time
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Scheduler:
    """The standard library's scheduler in a thread of its own; actions must be quick."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        self._stopping = False
        self._queue = sched.scheduler(time.monotonic, self._wait)
        self._thread = threading.Thread(target=self._run, name="sandbox-scheduler", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Run the action once, so many seconds from now; not at all once `stop` was called."""
        if not self._stopping:
            self._queue.enter(seconds, 0, action)
            self._changed.set()

    def clear(self) -> None:
        """Drop what has not run yet."""
        for event in self._queue.queue:
            with contextlib.suppress(ValueError):  # it has just run
                self._queue.cancel(event)
        self._changed.set()

    def stop(self) -> None:
        """Drop what has not run yet and end the thread."""
        self._stopping = True
        self.clear()
        if self._thread.is_alive():
            self._thread.join()

    def _wait(self, seconds: float | None = None) -> None:
        """Sleep until then, or until the queue changes."""
        self._changed.wait(seconds)
        self._changed.clear()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._queue.run()
            except Exception:  # it must not stop the other actions
                _logger.exception("a scheduled action failed")
            if not self._stopping and self._queue.empty():
                self._wait()
