"""What people have paused, as one worker process knows it: never older than a second."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared.domain.payout import PayoutState
from shared.storage.pauses import NOTICED_WITHIN, Pause

log = structlog.get_logger(__name__)

_OLDEST = NOTICED_WITHIN.total_seconds()
_AHEAD = 0.75
"""At this share of its time what is known is read anew, so that nobody has to wait for it."""


class PausesUnreadable(Exception):
    """It cannot be known what is paused: nothing new may be sent."""


class PauseCache:
    """Reads when it is asked and what it knows is old: never while nothing is to be sent.

    Safe to share between threads.
    """

    def __init__(
        self, read: Callable[[], Sequence[Pause]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Sequence[Pause] | None = None
        self._as_of: float | None = None
        self._looks = 0
        self._away = False

    def find(self, payout: PayoutState) -> Pause | None:
        """The pause that holds the payout back, or None.

        Raises:
            Unreadable: PostgreSQL did not tell.
        """
        for pause in self._fresh():
            if pause.scope.covers(payout):
                return pause
        return None

    def _fresh(self) -> Sequence[Pause]:
        if self._is_due():
            self._refresh()
        known = self._known
        if known is None:
            raise PausesUnreadable
        return known

    def _refresh(self) -> None:
        """One reads; the others wait for it only where what is known is nothing to go by."""
        looks = self._looks
        if not self._lock.acquire(blocking=self._known is None or self._age() >= _OLDEST):
            return
        try:
            # who waited for another's look goes by its failure, but not by what it found long ago
            failed = self._known is None and self._looks != looks
            if self._is_due() and not failed:
                self._look()
        finally:
            self._lock.release()

    def _look(self) -> None:
        now = self._clock()
        try:
            self._known, away = self._read(), False
        except SQLAlchemyError as error:
            self._known, away = None, True
            if not self._away:
                log.error("pauses_unreadable", error=type(error).__name__)  # noqa: TRY400
        self._looks += 1
        self._away = away
        self._as_of = now  # what was read is as old as the moment before it was asked for

    def _is_due(self) -> bool:
        """What could not be read is read at once: PostgreSQL may be back, and a hold is long."""
        return self._known is None or self._age() >= _AHEAD * _OLDEST

    def _age(self) -> float:
        return math.inf if self._as_of is None else self._clock() - self._as_of
