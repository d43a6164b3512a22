"""What the send guard answers: a permit, or why a payout may not be sent now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState
from shared.redis_client import RedisUnavailable
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.pauses import PauseCache, PausesUnreadable
from worker.send_guard.rate_limit import RateLimited, RateLimiter

REDIS_UNAVAILABLE = "Redis is unavailable, and EPAY_MAX_PER_SECOND is set"
EPAY_UNAVAILABLE = "EPAY does not answer (circuit breaker open)"

_MAX_LATENESS_SECONDS = 0.05
"""A slot that passed longer ago may coincide with the next one: another is reserved."""
_MAX_WAIT_SECONDS = 2.0
"""For that other slot."""


@dataclass(frozen=True, slots=True)
class Defer:
    """The payout may not be sent before `until`; nothing is wrong with it."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """EPAY's own limit excludes the amount; `reason` names the limit."""

    reason: str


class Permit:
    """Permission to send one payout once. Used by one thread at a time."""

    probe: str | None = None
    """The token, if this request is the circuit breaker's probe."""

    def __init__(
        self,
        payout: PayoutState,
        pauses: PauseCache,
        breaker: CircuitBreaker,
        rate_limiter: RateLimiter | None,
    ) -> None:
        self.slot: float | None = None
        """The reserved time of the request, on the monotonic clock."""
        self._payout = payout
        self._pauses = pauses
        self._breaker = breaker
        self._rate_limiter = rate_limiter
        self._confirmed_at = 0.0

    def confirm(self) -> str | None:
        """Check again right before the request, after the claim; returns why not to send, or None.

        Waits for the request's turn under the rate limit. A refused permit is released. Pauses come
        last: what is sent was not paused a second ago.
        """
        reason = self._wait_for_slot() or self._check_breaker() or self._check_pauses()
        if reason is not None:
            self.release()
        self._confirmed_at = time.monotonic()
        return reason

    def record(self, answer: OrderAnswer) -> None:
        """Learn from the answer to a create request that was really made."""
        probe, self.probe = self.probe, None
        self._breaker.record(answer, begun_at=self._confirmed_at, probe=probe)

    def release(self) -> None:
        """Give the permit back, nothing will be sent. Does nothing after `record`."""
        probe, self.probe = self.probe, None
        if probe is not None:
            self._breaker.release_probe(probe)

    def _wait_for_slot(self) -> str | None:
        limiter, slot, self.slot = self._rate_limiter, self.slot, None
        if limiter is None:
            return None
        try:
            if slot is None or limiter.sleep_until(slot) > _MAX_LATENESS_SECONDS:
                limiter.sleep_until(limiter.reserve(_MAX_WAIT_SECONDS))
        except RateLimited:
            return "EPAY_MAX_PER_SECOND leaves no slot soon"
        except RedisUnavailable:
            return REDIS_UNAVAILABLE
        return None

    def _check_breaker(self) -> str | None:
        if self.probe is None and self._breaker.wait() is not None:
            return EPAY_UNAVAILABLE
        return None

    def _check_pauses(self) -> str | None:
        try:
            pause = self._pauses.find(self._payout)
        except PausesUnreadable:
            return "the pauses could not be read"
        return None if pause is None else f"paused: {pause.scope}"


CheckResult = Permit | Defer | Reject
