"""The circuit breaker's state in Redis, shared by all processes; in memory during an outage."""

from __future__ import annotations

import threading
import time
from typing import cast

from shared.domain.circuit_breaker import (
    KEPT_SECONDS,
    KEY,
    MemoryBreakerStore,
    OpenState,
    deserialize,
    serialize,
)
from shared.redis_client import RedisClient, RedisUnavailable

_SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1
"""
_READ = """
local time = redis.call('TIME')
return {time[1], time[2], redis.call('GET', KEYS[1]) or ''}
"""


class RedisBreakerStore:
    """A `BreakerStore` in Redis. Every call is one round trip; raises RedisUnavailable."""

    def __init__(self, redis: RedisClient, key: str = KEY) -> None:
        self._redis = redis
        self._key = key
        self._swap = redis.client.register_script(_SWAP)
        self._read = redis.client.register_script(_READ)

    def read(self) -> tuple[float, OpenState | None]:
        """See `BreakerStore`."""
        found = cast("list[str]", self._redis.run(lambda: self._read(keys=[self._key])))
        return int(found[0]) + int(found[1]) / 1e6, deserialize(found[2])

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """See `BreakerStore`."""
        values: list[str | int] = [serialize(old), serialize(new), KEPT_SECONDS]
        return bool(self._redis.run(lambda: self._swap(keys=[self._key], args=values)))


class FallbackBreakerStore:
    """A `BreakerStore` in Redis; while Redis is unavailable, a copy in this process."""

    def __init__(self, redis: RedisBreakerStore) -> None:
        self._redis = redis
        self._copy = MemoryBreakerStore(time.time)
        self._is_unpublished = False
        """Whether the copy was changed while Redis was unavailable."""
        self._lock = threading.Lock()

    def read(self) -> tuple[float, OpenState | None]:
        """See `BreakerStore`."""
        with self._lock:
            try:
                now, state = self._redis.read()
                if self._is_unpublished:
                    own, self._is_unpublished = self._copy.state, False
                    if state is None and own is not None and self._redis.swap(None, own):
                        state = own
            except RedisUnavailable:
                return self._copy.read()
            self._copy.state = state
            return now, state

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """See `BreakerStore`."""
        with self._lock:
            try:
                swapped = self._redis.swap(old, new)
            except RedisUnavailable:
                swapped = self._copy.swap(old, new)
                self._is_unpublished = self._is_unpublished or swapped
                return swapped
            if swapped:
                self._copy.state = new
            return swapped
