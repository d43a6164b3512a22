"""The gate of a worker process: pauses, breaker, EPAY's limits and pace, asked in this order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from shared.clock import utcnow
from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState
from shared.redis_client import RedisUnavailable
from worker.send_guard.amount_limits import AmountLimits, LimitUnknown
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.interface import ALLOW, Defer, Reject, Verdict
from worker.send_guard.pauses import PauseCache, PausesUnreadable
from worker.send_guard.rate_limit import RateLimited, RateLimiter

_PAUSED_SECONDS = 300.0
"""`payouts resume` wakes what it held back; this is for what it missed."""
_SOON_SECONDS = 5.0
_LEAD_SECONDS = 0.15
"""Between look and send lies a commit: the turn is taken so much ahead that it is over by then."""
_LATE_SECONDS = 0.05
"""A turn that passed by so much is another's time: a new one is taken."""
_LAST_PATIENCE_SECONDS = 2.0


class _Way(threading.local):
    """What a look found out for the send that follows it in the same thread."""

    payout: tuple[str, str] | None = None
    probe: str | None = None
    turn: float | None = None
    begun_at: float = 0.0


class WorkerSendGuard:
    """See `worker.send_guard.interface.Gate`."""

    def __init__(
        self,
        pauses: PauseCache,
        breaker: CircuitBreaker,
        limits: AmountLimits | None = None,
        pace: RateLimiter | None = None,
        *,
        now: Callable[[], datetime] = utcnow,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._pauses = pauses
        self._breaker = breaker
        self._limits = limits
        self._pace = pace
        self._now = now
        self._clock = clock
        self._jitter = jitter
        self._way = _Way()

    def look(self, payout: PayoutState, *, patience: timedelta) -> Verdict:
        """See `Gate`. Without patience nothing is asked of EPAY and no probe is sent."""
        self._begin(payout)
        seconds = patience.total_seconds()
        return (
            self._paused(payout)
            or self._broken(patient=seconds > 0)
            or self._outside(payout, patient=seconds > 0)
            or self._probe()
            or self._turn(seconds)
            or ALLOW
        )

    def in_the_way(self, payout: PayoutState) -> str | None:
        """See `Gate`. The pauses come last: what is sent then was not paused a second ago."""
        if self._way.payout != _name(payout):
            self._begin(payout)  # sent again, without a look, after a commit of uncertain end
        brake = self._late() or self._broken_since() or self._paused_since(payout)
        if brake is not None:
            self._give_back()
        self._way.begun_at = self._clock()
        return brake

    def note(self, answer: OrderAnswer) -> None:
        """See `Gate`."""
        way = self._way
        probe, way.probe = way.probe, None
        way.payout = way.turn = None
        self._breaker.record(answer, begun_at=way.begun_at, probe=probe)

    def _begin(self, payout: PayoutState) -> None:
        self._give_back()
        self._way.payout, self._way.turn = _name(payout), None

    def _give_back(self) -> None:
        """A probe of this thread that was never sent is another's."""
        probe, self._way.probe = self._way.probe, None
        if probe is not None:
            self._breaker.release_probe(probe)

    def _paused(self, payout: PayoutState) -> Defer | None:
        try:
            pause = self._pauses.find(payout)
        except PausesUnreadable:
            return self._wait(_SOON_SECONDS, "it cannot be read what is paused")
        return None if pause is None else self._wait(_PAUSED_SECONDS, f"paused: {pause.scope}")

    def _broken(self, *, patient: bool) -> Defer | None:
        seconds = self._breaker.wait()
        if seconds is None or (seconds == 0 and patient):
            return None
        return self._wait(seconds, "EPAY does not answer", spread=2.0)

    def _outside(self, payout: PayoutState, *, patient: bool) -> Defer | Reject | None:
        if self._limits is None or payout.first_sent_at is not None:
            return None
        try:
            words = self._limits.violation(payout, patient=patient)
        except LimitUnknown:
            return self._wait(_SOON_SECONDS, "EPAY's limit is not known")
        return None if words is None else Reject(words)

    def _probe(self) -> Defer | None:
        seconds = self._breaker.wait()
        if seconds is None:
            return None
        if seconds == 0:
            self._way.probe = self._breaker.start_probe()
            if self._way.probe is not None or (seconds := self._breaker.wait()) is None:
                return None
        return self._wait(seconds, "EPAY does not answer", spread=2.0)

    def _turn(self, patience: float) -> Defer | None:
        if self._pace is None:
            return None
        try:
            turn = self._pace.reserve(patience, _LEAD_SECONDS)
        except RateLimited as taken:
            self._give_back()
            return self._wait(taken.seconds, "EPAY_MAX_PER_SECOND")
        except RedisUnavailable:
            self._give_back()
            return self._wait(_SOON_SECONDS, "Redis is away, and a rate is set")
        self._pace.sleep_until(turn - _LEAD_SECONDS)
        self._way.turn = turn
        return None

    def _late(self) -> str | None:
        """Wait for the turn to the moment; take another if it has passed."""
        if self._pace is None:
            return None
        turn, self._way.turn = self._way.turn, None
        try:
            if turn is None or self._pace.sleep_until(turn) > _LATE_SECONDS:
                self._pace.sleep_until(self._pace.reserve(_LAST_PATIENCE_SECONDS))
        except RateLimited:
            return "no turn within EPAY_MAX_PER_SECOND"
        except RedisUnavailable:
            return "Redis is away, and a rate is set"
        return None

    def _broken_since(self) -> str | None:
        if self._way.probe is None and self._breaker.wait() is not None:
            return "EPAY does not answer, so new sends wait"
        return None

    def _paused_since(self, payout: PayoutState) -> str | None:
        try:
            pause = self._pauses.find(payout)
        except PausesUnreadable:
            return "it could not be read what is paused"
        return None if pause is None else f"paused: {pause.scope}"

    def _wait(self, seconds: float, why: str, spread: float | None = None) -> Defer:
        later = seconds + self._jitter() * (seconds if spread is None else spread)
        return Defer(self._now() + timedelta(seconds=later), why)


def _name(payout: PayoutState) -> tuple[str, str]:
    return payout.epay_account, payout.merchant_order_no
