"""EPAY's own limits for one payout (getLimit, section 3.3), asked for once and shared for a while.

EPAY documents getLimit for the categories BANK and CASH alone, so which one to ask for is a
setting. Whether the ends of the range belong to it is not documented: an amount that equals one is
sent, and EPAY decides.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Protocol

import structlog

from shared.domain.gateway import Failure, Limit, Refused
from shared.domain.payout import PayoutState
from shared.redis_client import RedisClient, RedisUnavailable

log = structlog.get_logger(__name__)

_KNOWN_SECONDS = 10.0
"""How long a process goes by what it read without asking Redis again."""
_UNKNOWN_SECONDS = 5.0
"""How long it does not ask again after an answer that was none."""


class LimitUnknown(Exception):
    """EPAY's limit is not known just now."""


class AskLimit(Protocol):
    """getLimit of `shared.epay.client.EpayClient`."""

    def __call__(
        self, currency: str, category: str, channel_code: str | None = None
    ) -> Limit | Failure:
        """Ask EPAY."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    limit: Limit | None
    until: float


class AmountLimits:
    """Safe to share between threads; one asks EPAY, the others wait for its answer."""

    def __init__(
        self,
        ask: AskLimit,
        redis: RedisClient,
        turn: Callable[[], bool],
        *,
        category: str,
        kept_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._redis = redis
        self._turn = turn
        """Waits until a request may be made; False if it may not."""
        self._category = category
        self._kept = kept_seconds
        self._clock = clock
        self._known: dict[tuple[str, str, str], _Known] = {}
        self._lock = threading.Lock()

    def violation(self, payout: PayoutState, *, patient: bool) -> str | None:
        """Why EPAY would not take the amount; None: it is within the limits.

        Args:
            patient: whether EPAY may be asked; otherwise only what is known counts.

        Raises:
            LimitUnknown: EPAY did not tell, or was not asked.
        """
        limit = self._limit(payout, patient=patient)
        if limit.single_min <= payout.amount <= limit.single_max:
            return None
        return (
            f"{payout.amount} {payout.currency} is outside EPAY's limit: EPAY's limit is"
            f" {limit.single_min:f} to {limit.single_max:f} {payout.currency}"
            f" for channel {payout.channel_code}"
        )

    def _limit(self, payout: PayoutState, *, patient: bool) -> Limit:
        key = (payout.epay_account, payout.currency, payout.channel_code)
        known = self._known.get(key)
        if (known is None or known.until <= self._clock()) and patient:
            with self._lock:
                known = self._known.get(key)
                if known is None or known.until <= self._clock():
                    known = self._known[key] = self._look_up(key)
        if known is None or known.limit is None or known.until <= self._clock():
            raise LimitUnknown
        return known.limit

    def _look_up(self, key: tuple[str, str, str]) -> _Known:
        """From Redis or from EPAY."""
        account, currency, channel = key
        name = f"payouts:epay-limit:{account}:{self._category}:{currency}:{channel}"
        try:
            limit = _read(self._redis.run(lambda: self._redis.client.get(name)))
        except RedisUnavailable:
            limit = None
        if limit is None:
            limit = self._of_epay(currency, channel)
            if limit is not None:
                self._share(name, limit)
        kept = min(_KNOWN_SECONDS, self._kept) if limit else _UNKNOWN_SECONDS
        return _Known(limit, self._clock() + kept)

    def _of_epay(self, currency: str, channel: str) -> Limit | None:
        if not self._turn():
            return None
        answer = self._ask(currency, self._category, channel)
        if isinstance(answer, Limit):
            return answer
        told = f"code {answer.code}" if isinstance(answer, Refused) else answer.reason
        log.warning("limit_unknown", currency=currency, channel=channel, answer=told)
        return None

    def _share(self, name: str, limit: Limit) -> None:
        text = json.dumps([str(limit.single_min), str(limit.single_max)])
        milliseconds = max(1, round(self._kept * 1000))
        try:
            self._redis.run(lambda: self._redis.client.set(name, text, px=milliseconds))
        except RedisUnavailable:
            return


def _read(text: object) -> Limit | None:
    try:
        low, high = json.loads(str(text))
        return Limit(Decimal(low), Decimal(high))
    except (TypeError, ValueError, InvalidOperation):
        return None
