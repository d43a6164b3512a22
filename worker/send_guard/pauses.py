"""The pauses in force, cached in a worker process for at most one second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared.domain.payout import PayoutState
from shared.storage.pauses import NOTICED_WITHIN, Pause

log = structlog.get_logger(__name__)

_MAX_AGE = NOTICED_WITHIN.total_seconds()
_REFRESH_AGE = 0.75 * _MAX_AGE
"""From this age on one thread reads the pauses again, while the others still use the cache."""


class PausesUnreadable(Exception):
    """PostgreSQL did not return the pauses: nothing new may be sent."""


class PauseCache:
    """Reads the pauses on demand, never while nothing is to be sent.

    Safe to share between threads.
    """

    def __init__(
        self, read: Callable[[], Sequence[Pause]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._pauses: Sequence[Pause] | None = None
        """None: never read, or the last read failed; the next caller reads again."""
        self._read_at = 0.0
        self._failures = 0
        """Failed reads in a row."""

    def find(self, payout: PayoutState) -> Pause | None:
        """The pause that holds the payout back, or None.

        Raises:
            PausesUnreadable: PostgreSQL did not return the pauses.
        """
        if not self._is_younger_than(_REFRESH_AGE):
            self._refresh()
        pauses = self._pauses
        if pauses is None:
            raise PausesUnreadable
        return next((pause for pause in pauses if pause.scope.covers(payout)), None)

    def _refresh(self) -> None:
        """Read in one thread; the others wait for it only if the cache is too old to use."""
        failures = self._failures
        if not self._lock.acquire(blocking=not self._is_younger_than(_MAX_AGE)):
            return
        try:
            # A thread that waited for a read shares its failure, but not a result that is too old.
            shares_failure = self._pauses is None and self._failures != failures
            if not shares_failure and not self._is_younger_than(_REFRESH_AGE):
                self._load()
        finally:
            self._lock.release()

    def _load(self) -> None:
        began = self._clock()  # the result is as old as the moment before the read
        try:
            self._pauses = self._read()
        except SQLAlchemyError as error:
            self._pauses = None
            self._failures += 1
            if self._failures == 1:
                log.error("pauses_unreadable", error=type(error).__name__)  # noqa: TRY400
            return
        self._failures = 0
        self._read_at = began

    def _is_younger_than(self, seconds: float) -> bool:
        return self._pauses is not None and self._clock() - self._read_at < seconds
