"""The gateway being away for some seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum

from sandbox.scheduler import Scheduler


class DownMode(StrEnum):
    """How a gateway that is away looks from outside."""

    REFUSE = "refuse"
    """The listening socket and idle connections are closed; the /_ paths are away too."""
    DROP = "drop"
    """Connections are accepted, and closed when a call comes in."""
    SILENT = "silent"
    """Connections are accepted and calls never answered: no order comes of them."""
    UNAVAILABLE = "503"
    """Calls are answered with HTTP 503."""


class Outage:
    """Whether the gateway is away, how, and until when.

    `close_door` and `open_door` do the work of the mode `refuse`.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._until = 0.0
        self._mode = DownMode.REFUSE
        self._door_closed = False
        self.close_door: Callable[[], None] = _nothing
        self.open_door: Callable[[], None] = _nothing

    def begin(self, seconds: float, mode: DownMode = DownMode.REFUSE) -> None:
        """Be away from now on. In mode `refuse` the socket is closed when this returns."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)
            self._mode = mode
            if mode is DownMode.REFUSE and not self._door_closed:
                self._door_closed = True
                self.close_door()
        self._scheduler.after(seconds, self._open_when_over)

    def end(self) -> None:
        """Be back at once."""
        with self._lock:
            self._until = 0.0
        self._open_when_over()

    @property
    def mode(self) -> DownMode | None:
        """How the gateway is away, or None while it is there."""
        with self._lock:
            return self._mode if time.monotonic() < self._until else None

    @property
    def seconds_left(self) -> float:
        """How much longer, 0 while it is there."""
        return max(0.0, self._until - time.monotonic())

    def _open_when_over(self) -> None:
        with self._lock:
            if not self._door_closed or time.monotonic() < self._until:
                return  # whoever prolonged the outage has scheduled its end as well
            try:
                self.open_door()
            except OSError:
                # Another program may hold the port for a moment, as a local end.
                self._scheduler.after(0.1, self._open_when_over)
            else:
                self._door_closed = False


def _nothing() -> None:
    """Stand in for a door where there is none, as under Flask's test client."""
