"""EPAY's own limits for the amount of one payout (getLimit, section 3.3), cached per process.

EPAY documents getLimit for the categories BANK and CASH only, so the category is a setting. Whether
the limits themselves are allowed amounts is not documented: such an amount is sent, and EPAY
decides.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from shared.domain.gateway import Failure, Limit, Refused
from shared.domain.payout import PayoutState

log = structlog.get_logger(__name__)

_UNKNOWN_SECONDS = 5.0
"""How long EPAY is not asked again after it did not tell a limit."""

GetLimit = Callable[[str, str, str], Limit | Failure]
"""Asks EPAY by currency, category and channel code: `EpayClient.limit`."""

_Key = tuple[str, str, str]


class LimitUnknown(Exception):
    """EPAY's limit is not known at the moment."""


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    limit: Limit | None
    """None: EPAY did not tell."""
    expires_at: float


class AmountLimits:
    """A cache of EPAY's limits. Safe to share between threads: one asks EPAY, the others wait."""

    def __init__(
        self,
        get_limit: GetLimit,
        acquire: Callable[[], bool],
        *,
        category: str,
        cache_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`acquire` waits until the rate limit allows a request; False: it does not allow one."""
        self._get_limit = get_limit
        self._acquire = acquire
        self._category = category
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._cache: dict[_Key, _CacheEntry] = {}
        self._lock = threading.Lock()

    def violation(self, payout: PayoutState, *, may_ask: bool) -> str | None:
        """Say why EPAY would refuse the amount; None if it is within EPAY's limits.

        Args:
            may_ask: whether EPAY may be asked; otherwise only the cache counts.

        Raises:
            LimitUnknown: EPAY did not tell its limit, or was not asked.
        """
        limit = self._limit(payout, may_ask=may_ask)
        if limit.single_min <= payout.amount <= limit.single_max:
            return None
        return (
            f"{payout.amount} {payout.currency} is outside EPAY's limit: EPAY's limit is"
            f" {limit.single_min:f} to {limit.single_max:f} {payout.currency}"
            f" for channel {payout.channel_code}"
        )

    def _limit(self, payout: PayoutState, *, may_ask: bool) -> Limit:
        key = (payout.epay_account, payout.currency, payout.channel_code)
        entry = self._cached(key)
        if entry is None and may_ask:
            with self._lock:
                entry = self._cached(key) or self._fetch(key)
        if entry is None or entry.limit is None:
            raise LimitUnknown
        return entry.limit

    def _cached(self, key: _Key) -> _CacheEntry | None:
        entry = self._cache.get(key)
        return entry if entry is not None and entry.expires_at > self._clock() else None

    def _fetch(self, key: _Key) -> _CacheEntry:
        _, currency, channel = key
        limit = self._ask(currency, channel)
        seconds = _UNKNOWN_SECONDS if limit is None else self._cache_seconds
        entry = self._cache[key] = _CacheEntry(limit, self._clock() + seconds)
        return entry

    def _ask(self, currency: str, channel: str) -> Limit | None:
        if not self._acquire():
            return None
        answer = self._get_limit(currency, self._category, channel)
        if isinstance(answer, Limit):
            return answer
        told = f"code {answer.code}" if isinstance(answer, Refused) else answer.reason
        log.warning("limit_unknown", currency=currency, channel=channel, answer=told)
        return None
