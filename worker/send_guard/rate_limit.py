"""The rate limit towards EPAY, for all processes together: evenly spaced slots, reserved in Redis.

The moving window of `limits` does not fit: it sends bursts and trusts each worker's own clock.

The algorithm is GCRA without a burst: Redis keeps the time of the next free slot, on its own clock;
one script reserves that slot and moves the time on. Without a rate there is no `RateLimiter`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from shared.redis_client import RedisClient, RedisUnavailable

KEY = "payouts:pace"
SHARE = 0.96
"""The part of the rate that is used: requests delayed on their way arrive closer together."""

_MICRO = 1_000_000
_RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, lead, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local free = tonumber(redis.call('GET', KEYS[1]) or '0')
if free - now > interval + 60000000 then free = now end -- no caller waits so long: clock set back
local slot = math.max(free, now + lead)
if slot - now > longest then return {0, slot - now} end
local after = slot + interval
local ttl = math.ceil((after - now) / 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', ttl)
return {1, slot - now}
"""


class RateLimited(Exception):
    """All slots within `max_wait` are reserved; `seconds` until the next free one."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the next free slot is in {seconds:.1f} s")
        self.seconds = seconds


class RateLimiter:
    """Safe to share between threads."""

    def __init__(
        self,
        redis: RedisClient,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._redis = redis
        self._script = redis.client.register_script(_RESERVE)
        self._interval = round(_MICRO / (per_second * SHARE))
        self._clock = clock
        self._sleep = sleep

    def reserve(self, max_wait: float, lead: float = 0.0) -> float:
        """Reserve a slot; returns its time on this process's monotonic clock.

        Args:
            max_wait: how many seconds after `lead` the slot may be at most.
            lead: how many seconds ahead the slot must be at least.

        Raises:
            RateLimited: the next slot is later; none was reserved.
            RedisUnavailable: no slot could be reserved.
        """
        values = [self._interval, round(lead * _MICRO), round((max_wait + lead) * _MICRO)]
        reserved, away = cast(
            "list[int]", self._redis.run(lambda: self._script(keys=[KEY], args=values))
        )
        if not reserved:
            raise RateLimited(away / _MICRO)
        return self._clock() + away / _MICRO

    def sleep_until(self, at: float) -> float:
        """Sleep until `at`; returns how many seconds it is past."""
        if (left := at - self._clock()) > 0:
            self._sleep(left)
        return self._clock() - at

    def acquire(self, max_wait: float) -> bool:
        """Sleep until a slot; False if there is none within `max_wait` seconds."""
        try:
            self.sleep_until(self.reserve(max_wait))
        except (RateLimited, RedisUnavailable):
            return False
        return True
