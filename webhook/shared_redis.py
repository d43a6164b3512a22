"""What all webhook processes know together: small keys in Redis, given up at once while it is away.

Only callbacks that are not believed need it: a flood of them cannot keep every thread waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import redis

from shared.redis_client import RedisClient, RedisUnavailable

_Result = TypeVar("_Result")


class BrokerAway(Exception):
    """Redis did not take the message, or does not answer: EPAY has to come again."""


class SharedRedis(RedisClient):
    """See `QuickRedis`; answers are bytes, and what is away is the broker."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(url, clock, decode_responses=False)

    def run(self, action: Callable[[], _Result]) -> _Result:
        """Do something with Redis.

        Raises:
            BrokerAway: it failed, or failed a moment ago and was not tried.
        """
        try:
            return super().run(action)
        except RedisUnavailable as error:
            raise BrokerAway from error

    def ping(self) -> None:
        """Raise BrokerAway when Redis does not answer now."""
        try:
            self.client.ping()
        except (redis.RedisError, OSError) as error:
            raise BrokerAway from error
