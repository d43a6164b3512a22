"""One thread that runs things when their time has come."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Scheduler:
    """A heap of (time, action) and the thread that runs them; actions must be quick."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sandbox-scheduler", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Run the action once, so many seconds from now."""
        with self._changed:
            heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._order), action))
            self._changed.notify()

    def clear(self) -> None:
        """Drop what has not run yet."""
        with self._changed:
            self._heap.clear()

    def stop(self) -> None:
        """Drop what has not run yet and end the thread."""
        with self._changed:
            self._stopping = True
            self._heap.clear()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and not self._due():
                    wait = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._changed.wait(wait)
                if self._stopping:
                    return
                action = heapq.heappop(self._heap)[2]
            try:
                action()
            except Exception:
                # The thread is everybody's clock: one action's mistake must not stop the others.
                _logger.exception("a scheduled action failed")

    def _due(self) -> bool:
        return bool(self._heap) and self._heap[0][0] <= time.monotonic()
