"""The rate towards EPAY, of all processes together: turns at even distances, dealt out by Redis.

Virtual scheduling (GCRA without a burst): Redis keeps the time of the next free turn, on its own
clock, and one script takes it and moves it on. So no second sees more than the rate, whoever asks.
Without a rate there is no `Pace`, and Redis is not asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from shared.redis_client import RedisClient, RedisUnavailable

KEY = "payouts:pace"
SHARE = 0.96
"""Of the rate so much is dealt out: requests are delayed on their way, and then come closer."""

_MICRO = 1_000_000
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, lead, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local free = tonumber(redis.call('GET', KEYS[1]) or '0')
if free - now > interval + 60000000 then free = now end -- nobody waits so long: a clock went back
local turn = math.max(free, now + lead)
if turn - now > longest then return {0, turn - now} end
local after = turn + interval
local kept = math.ceil((after - now) / 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', kept)
return {1, turn - now}
"""


class RateLimited(Exception):
    """All turns within the patience are taken; `seconds` until the next free one."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the next turn is in {seconds:.1f} s")
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
        self._take = redis.client.register_script(_TAKE)
        self._interval = round(_MICRO / (per_second * SHARE))
        self._clock = clock
        self._sleep = sleep

    def reserve(self, patience: float, lead: float = 0.0) -> float:
        """Take a turn: when it is, on this process's monotonic clock.

        Args:
            patience: seconds that the turn may be away.
            lead: seconds that it must at least be away, for what is to be done before it.

        Raises:
            NoTurn: it is further away; none was taken.
            RedisAway: nobody deals out turns.
        """
        values = [self._interval, round(lead * _MICRO), round((patience + lead) * _MICRO)]
        taken, away = cast(
            "list[int]", self._redis.run(lambda: self._take(keys=[KEY], args=values))
        )
        if not taken:
            raise RateLimited(away / _MICRO)
        return self._clock() + away / _MICRO

    def sleep_until(self, at: float) -> float:
        """Sleep until then; by how many seconds it is past."""
        if (left := at - self._clock()) > 0:
            self._sleep(left)
        return self._clock() - at

    def acquire(self, patience: float) -> bool:
        """Wait in place for a turn; False if there is none within the patience."""
        try:
            self.sleep_until(self.reserve(patience))
        except (RateLimited, RedisUnavailable):
            return False
        return True
