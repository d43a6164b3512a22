"""Limits that all webhook processes share through Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

from limits import parse
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter

from webhook.shared_redis import BrokerAway, SharedRedis

_PREFIX = "payouts:limit"
_REMEMBERED_SECONDS = 1.0
_MOST_REMEMBERED = 10_000


class SharedLimit:
    """So many in a window of time, over all processes; while Redis is away, in each of them.

    A key that is over its limit is not asked about again for a second: a flood costs Redis one
    command a second for each process and key, not one for each request.
    """

    def __init__(
        self,
        redis: SharedRedis,
        limit: str,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit` is as `limits` writes it: 300/second."""
        self._redis = redis
        self._item = parse(limit)
        self._name = name
        self._clock = clock
        pool = redis.client.connection_pool
        self._shared = FixedWindowRateLimiter(
            RedisStorage("redis://", connection_pool=pool, key_prefix=_PREFIX)
        )
        self._own: FixedWindowRateLimiter | None = None
        self._full_until: dict[str, float] = {}

    def is_full(self, key: str = "") -> bool:
        """Whether this process found it full within the last second; asks nobody."""
        return self._full_until.get(key, 0.0) > self._clock()

    def hit(self, key: str = "") -> bool:
        """Count one more; whether it is within the limit."""
        if self.is_full(key):
            return False
        try:
            within = self._redis.run(lambda: self._shared.hit(self._item, self._name, key))
        except BrokerAway:
            within = self._alone().hit(self._item, self._name, key)
        if not within:
            self._remember(key)
        return within

    def _alone(self) -> FixedWindowRateLimiter:
        if self._own is None:
            self._own = FixedWindowRateLimiter(MemoryStorage())
        return self._own

    def _remember(self, key: str) -> None:
        if len(self._full_until) >= _MOST_REMEMBERED:
            self._full_until = {}
        self._full_until[key] = self._clock() + _REMEMBERED_SECONDS
