"""Rate limits shared by all webhook processes through Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

from limits import parse
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter

from shared.redis_client import RedisClient, RedisUnavailable

_PREFIX = "payouts:limit"
_FULL_CACHE_SECONDS = 1.0
_FULL_CACHE_MAX_KEYS = 10_000


class SharedLimit:
    """A fixed-window limit over all processes; per process while Redis is unavailable.

    A key found over its limit is cached as full for a second: a flood costs Redis one command a
    second per process and key, not one per request.
    """

    def __init__(
        self,
        redis: RedisClient,
        limit: str,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit` is in the notation of the `limits` package, such as 300/second."""
        self._redis = redis
        self._item = parse(limit)
        self._name = name
        self._clock = clock
        pool = redis.client.connection_pool
        self._shared = FixedWindowRateLimiter(
            RedisStorage("redis://", connection_pool=pool, key_prefix=_PREFIX)
        )
        self._local: FixedWindowRateLimiter | None = None
        self._full_until: dict[str, float] = {}

    def is_full(self, key: str = "") -> bool:
        """Whether this process found the key over its limit within the last second; no I/O."""
        return self._full_until.get(key, 0.0) > self._clock()

    def hit(self, key: str = "") -> bool:
        """Count one event; returns whether it is within the limit."""
        if self.is_full(key):
            return False
        try:
            within = self._redis.run(lambda: self._shared.hit(self._item, self._name, key))
        except RedisUnavailable:
            within = self._local_limiter().hit(self._item, self._name, key)
        if not within:
            if len(self._full_until) >= _FULL_CACHE_MAX_KEYS:
                self._full_until = {}
            self._full_until[key] = self._clock() + _FULL_CACHE_SECONDS
        return within

    def _local_limiter(self) -> FixedWindowRateLimiter:
        if self._local is None:
            self._local = FixedWindowRateLimiter(MemoryStorage())
        return self._local
