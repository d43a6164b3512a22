"""Whether a payout may be sent now: pauses, circuit breaker, EPAY's limits, rate limit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from shared.clock import utcnow
from shared.domain.payout import PayoutState
from shared.redis_client import RedisUnavailable
from worker.send_guard.amount_limits import AmountLimits, LimitUnknown
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.pauses import PauseCache, PausesUnreadable
from worker.send_guard.permit import (
    EPAY_UNAVAILABLE,
    REDIS_UNAVAILABLE,
    CheckResult,
    Defer,
    Permit,
    Reject,
)
from worker.send_guard.rate_limit import RateLimited, RateLimiter

_PAUSED_SECONDS = 300.0
"""`payouts resume` wakes paused payouts; this is for those that it missed."""
_SOON_SECONDS = 5.0
_BREAKER_SPREAD_SECONDS = 2.0
_LEAD_SECONDS = 0.15
"""Between check and request lies a commit: a slot is reserved so far ahead that it fits in."""


class SendGuard:
    """Checked before a payout is claimed for sending. Safe to share between threads."""

    def __init__(
        self,
        pauses: PauseCache,
        breaker: CircuitBreaker,
        limits: AmountLimits | None = None,
        rate_limiter: RateLimiter | None = None,
        other_breakers: Mapping[str, CircuitBreaker] = MappingProxyType({}),
    ) -> None:
        """`other_breakers`: by the host of a gateway other than that of `breaker`."""
        self._pauses = pauses
        self._breaker = breaker
        self._other_breakers = other_breakers
        self._limits = limits
        self._rate_limiter = rate_limiter

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        """Decide whether the payout may be sent now; waits at most `max_wait` for its turn.

        May ask EPAY and Redis: no database connection is held meanwhile (law 9). With a `max_wait`
        of zero it asks EPAY nothing, and its permit holds nothing that must be released. Probe and
        slot come last: they are taken only if all else passed.
        """
        may_wait = max_wait > timedelta(0)
        refusal = (
            self._check_pauses(payout)
            or self._check_breaker(self._breaker_of(payout), may_probe=may_wait)
            or self._check_limits(payout, may_ask=may_wait)
        )
        if refusal is not None:
            return refusal
        permit = self.recover_permit(payout)
        return (
            self._start_probe(permit, self._breaker_of(payout), may_probe=may_wait)
            or self._reserve_slot(permit, max_wait)
            or permit
        )

    def recover_permit(self, payout: PayoutState) -> Permit:
        """Permit a payout that was claimed by an interrupted run of the same task.

        Its permit is lost and the claim must not be checked again: `confirm` does what is left.
        """
        return Permit(payout, self._pauses, self._breaker_of(payout), self._rate_limiter)

    def _check_pauses(self, payout: PayoutState) -> Defer | None:
        try:
            pause = self._pauses.find(payout)
        except PausesUnreadable:
            return _defer(_SOON_SECONDS, "the pauses could not be read")
        return None if pause is None else _defer(_PAUSED_SECONDS, f"paused: {pause.scope}")

    def _breaker_of(self, payout: PayoutState) -> CircuitBreaker:
        return self._other_breakers.get(payout.epay_gateway or "", self._breaker)

    def _check_breaker(self, breaker: CircuitBreaker, *, may_probe: bool) -> Defer | None:
        seconds = breaker.wait()
        if seconds is None or (seconds == 0 and may_probe):
            return None
        return _defer(seconds, EPAY_UNAVAILABLE, spread=_BREAKER_SPREAD_SECONDS)

    def _check_limits(self, payout: PayoutState, *, may_ask: bool) -> Defer | Reject | None:
        if self._limits is None or payout.first_sent_at is not None:
            return None
        try:
            violation = self._limits.violation(payout, may_ask=may_ask)
        except LimitUnknown:
            return _defer(_SOON_SECONDS, "EPAY's limit is not known")
        return None if violation is None else Reject(violation)

    def _start_probe(
        self, permit: Permit, breaker: CircuitBreaker, *, may_probe: bool
    ) -> Defer | None:
        if may_probe and breaker.wait() == 0:
            permit.probe = breaker.start_probe()
        return None if permit.probe is not None else self._check_breaker(breaker, may_probe=False)

    def _reserve_slot(self, permit: Permit, max_wait: timedelta) -> Defer | None:
        if self._rate_limiter is None:
            return None
        try:
            slot = self._rate_limiter.reserve(max_wait.total_seconds(), _LEAD_SECONDS)
        except RateLimited as full:
            permit.release()
            return _defer(full.seconds, "EPAY_MAX_PER_SECOND")
        except RedisUnavailable:
            permit.release()
            return _defer(_SOON_SECONDS, REDIS_UNAVAILABLE)
        self._rate_limiter.sleep_until(slot - _LEAD_SECONDS)
        permit.slot = slot
        return None


def _defer(seconds: float, reason: str, spread: float | None = None) -> Defer:
    """Defer by `seconds` and a random part of `spread`, or of as much again."""
    jitter = random.random() * (seconds if spread is None else spread)  # noqa: S311
    return Defer(utcnow() + timedelta(seconds=seconds + jitter), reason)
