"""The gateway being away for some seconds."""

from __future__ import annotations

import threading
import time
from enum import StrEnum

from sandbox.http_server import HttpServer
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
    """Whether the gateway is away, how, and until when."""

    def __init__(self, scheduler: Scheduler, http: HttpServer) -> None:
        self._scheduler = scheduler
        self._http = http
        self._lock = threading.Lock()
        self._until = 0.0
        self._mode = DownMode.REFUSE
        self._is_refusing = False

    def begin(self, seconds: float, mode: DownMode = DownMode.REFUSE) -> None:
        """Be away from now on. In mode `refuse` the socket is closed when this returns."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)
            self._mode = mode
            if mode is DownMode.REFUSE and not self._is_refusing:
                self._is_refusing = True
                self._http.close()
        self._scheduler.after(seconds, self._open_when_over)

    def end(self) -> None:
        """Be back at once."""
        self._until = 0.0
        self._open_when_over()

    @property
    def mode(self) -> DownMode | None:
        """How the gateway is away, or None while it is there."""
        return self._mode if self.seconds_left else None

    @property
    def seconds_left(self) -> float:
        """How much longer, 0 while it is there."""
        return max(0.0, self._until - time.monotonic())

    def _open_when_over(self) -> None:
        with self._lock:
            if not self._is_refusing or self.seconds_left:
                return  # a longer outage has scheduled its own end
            try:
                self._http.open()
            except OSError:
                # Another program may hold the port for a moment, as a local end.
                self._scheduler.after(0.1, self._open_when_over)
            else:
                self._is_refusing = False
