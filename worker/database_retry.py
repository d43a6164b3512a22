"""Retries task bodies while PostgreSQL is unavailable, and logs an outage once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import stamina
import structlog

from shared.storage.engine import is_transient

T = TypeVar("T")

log = structlog.get_logger(__name__)


class DatabaseUnavailable(Exception):
    """PostgreSQL was unavailable for the maximum wait; the message has to be requeued."""


class DatabaseRetry:
    """Retries a task body while PostgreSQL is unavailable, for a bounded time."""

    _FIRST_PAUSE_SECONDS = 0.2
    _LONGEST_PAUSE_SECONDS = 3.0

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._away_since: float | None = None
        self._failed_at = 0.0
        self._lock = threading.Lock()
        stamina.instrumentation.set_on_retry_hooks(())  # an outage is logged once, not per retry

    def run(self, body: Callable[[], T]) -> T:
        """Run `body` until it does not fail because PostgreSQL is unavailable.

        The body must be safe to repeat from its start.

        Raises:
            DatabaseUnavailable: the maximum wait is over.
        """
        try:
            began = time.monotonic()
            try:
                result = body()
            except Exception as error:
                if not self._noted(error):
                    raise
                began, result = self._run_again(body)
        except Exception as error:
            if is_transient(error):
                raise DatabaseUnavailable from error
            raise
        self._back(began)
        return result

    def _run_again(self, body: Callable[[], T]) -> tuple[float, T]:
        """Retry; returns the result of the run that succeeded, and when that run began."""
        time.sleep(min(self._FIRST_PAUSE_SECONDS, self._seconds))
        for attempt in stamina.retry_context(
            on=self._noted,
            attempts=None,
            timeout=self._seconds,
            wait_initial=self._FIRST_PAUSE_SECONDS,
            wait_max=self._LONGEST_PAUSE_SECONDS,
        ):
            with attempt:
                began = time.monotonic()
                result = body()
        return began, result

    def _noted(self, error: Exception) -> bool:
        if not is_transient(error):
            return False
        with self._lock:
            self._failed_at = time.monotonic()
            if self._away_since is None:
                self._away_since = self._failed_at
                log.error("database_away", error=type(error).__name__)
        return True

    def _back(self, began: float) -> None:
        """Log the end of the outage, unless the run began before the last failure."""
        if self._away_since is None:
            return
        with self._lock:
            if self._away_since is not None and began > self._failed_at:
                seconds = round(time.monotonic() - self._away_since, 1)
                self._away_since = None
                log.warning("database_back", seconds_away=seconds)
