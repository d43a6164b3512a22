"""The breaker's opening in Redis, for all processes; in memory while Redis is away."""

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
    """See `shared.domain.circuit_breaker.Board`. Every call is one round trip; raises RedisAway."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._swap = redis.client.register_script(_SWAP)
        self._read = redis.client.register_script(_READ)

    def read(self) -> tuple[float, OpenState | None]:
        """See `Board`."""
        found = cast("list[str]", self._redis.run(lambda: self._read(keys=[KEY])))
        return int(found[0]) + int(found[1]) / 1e6, deserialize(found[2])

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """See `Board`."""
        values: list[str | int] = [serialize(old), serialize(new), KEPT_SECONDS]
        return bool(self._redis.run(lambda: self._swap(keys=[KEY], args=values)))


class FallbackBreakerStore:
    """Redis while it is there; meanwhile the process goes by what it saw itself."""

    def __init__(self, redis: RedisBreakerStore) -> None:
        self._redis = redis
        self._own = MemoryBreakerStore(time.time)
        self._untold = False
        """Whether what stands in memory was changed while Redis was away."""
        self._lock = threading.Lock()

    def read(self) -> tuple[float, OpenState | None]:
        """See `Board`."""
        with self._lock:
            try:
                now, standing = self._redis.read()
                if self._untold:
                    own, self._untold = self._own.standing, False
                    if standing is None and own is not None and self._redis.swap(None, own):
                        standing = own
            except RedisUnavailable:
                return self._own.read()
            self._own.standing = standing
            return now, standing

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """See `Board`."""
        with self._lock:
            try:
                done = self._redis.swap(old, new)
            except RedisUnavailable:
                done = self._own.swap(old, new)
                self._untold = self._untold or done
                return done
            if done:
                self._own.standing = new
            return done
