"""The breaker of one worker process: when EPAY does not answer creates, new ones wait.

Queries go on. The state machine is `shared.domain.circuit_breaker`; here are its threads and its
place in Redis, which is read once a second at most, and only while something is to be sent.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

import structlog

from shared.domain.circuit_breaker import (
    BreakerRules,
    BreakerStore,
    FailureWindow,
    OpenState,
    fail_probe,
    is_failure,
    release_probe,
)
from shared.domain.circuit_breaker import open_breaker as newly_opened
from shared.domain.circuit_breaker import start_probe as with_probe
from shared.domain.gateway import OrderAnswer

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0


class CircuitBreaker:
    """Safe to share between threads."""

    def __init__(
        self, board: BreakerStore, rules: BreakerRules, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board = board
        self._rules = rules
        self._clock = clock
        self._evidence = FailureWindow(rules)
        self._lock = threading.Lock()
        self._standing: OpenState | None = None
        self._ahead = 0.0
        """The board's clock, less our own."""
        self._read_at: float | None = None
        self._closed_at = clock()

    def wait(self) -> float | None:
        """How many seconds a create has to wait; None: not at all; 0: it could be the probe."""
        first = self._read_at is None
        if first or self._is_old():
            self._look_again(wait_for_it=first)
        standing = self._standing
        return None if standing is None else standing.wait(self._now())

    def start_probe(self) -> str | None:
        """Become the one create that is let through, over all processes; None: another is."""
        token = secrets.token_hex(8)
        with self._lock:
            self._look()
            if self._standing is None:
                return None
            probing = with_probe(self._standing, token, self._now(), self._rules)
            return token if probing is not None and self._swap(probing) else None

    def release_probe(self, token: str) -> None:
        """The probe was not sent after all."""
        with self._lock:
            self._replace(lambda standing: release_probe(standing, token))

    def record(self, answer: OrderAnswer, *, begun_at: float, probe: str | None) -> None:
        """Learn from a create that was really made.

        Args:
            begun_at: on this process's monotonic clock: what was under way while the breaker was
                open says nothing of how EPAY is since.
            probe: the token, if it was the probe.
        """
        with self._lock:
            if probe is not None:
                self._end_probe(answer, probe)
            elif self._standing is None and begun_at >= self._closed_at:
                why = self._evidence.record(answer)
                if why is not None:
                    self._open(why)

    def _end_probe(self, answer: OrderAnswer, token: str) -> None:
        if is_failure(answer):
            self._replace(lambda standing: fail_probe(standing, token, self._now(), self._rules))
            return
        self._look()
        standing = self._standing
        if standing is not None and self._swap(None):
            seconds = round(self._now() - standing.since, 1)
            log.warning("breaker_closed", seconds_open=seconds, probes=standing.probes)

    def _open(self, why: str) -> None:
        self._look()
        if self._standing is None and self._swap(newly_opened(self._now(), why, self._rules)):
            log.warning("breaker_open", reason=why)

    def _replace(self, change: Callable[[OpenState], OpenState | None]) -> None:
        self._look()
        changed = change(self._standing) if self._standing is not None else None
        if changed is not None:
            self._swap(changed)

    def _is_old(self) -> bool:
        return self._read_at is None or self._clock() - self._read_at >= _LOOK_SECONDS

    def _look_again(self, *, wait_for_it: bool) -> None:
        """One asks; the others go by what is known."""
        if not self._lock.acquire(blocking=wait_for_it):
            return
        try:
            if self._is_old():
                self._look()
        finally:
            self._lock.release()

    def _look(self) -> None:
        now, standing = self._board.read()
        self._ahead = now - self._clock()
        self._read_at = self._clock()
        self._stands(standing)

    def _swap(self, new: OpenState | None) -> bool:
        if not self._board.swap(self._standing, new):
            self._look()
            return False
        self._stands(new)
        return True

    def _stands(self, standing: OpenState | None) -> None:
        if self._standing is not None and standing is None:
            self._closed_at = self._clock()
            self._evidence.clear()
        self._standing = standing

    def _now(self) -> float:
        return self._clock() + self._ahead
