"""What all webhook processes know together: small keys in Redis, given up at once while it is away.

Only callbacks that are not believed need it. While Redis is silent one request in two seconds finds
that out; the others do not wait, so that a flood of them cannot keep every thread waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_TIMEOUT_SECONDS = 2
_PAUSE_SECONDS = 2
_Result = TypeVar("_Result")


class BrokerAway(Exception):
    """Redis did not take the message, or does not answer: EPAY has to come again."""


class SharedRedis:
    """A connection pool to Redis that remembers for a moment that Redis is away."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        # Once more for a pooled connection that Redis closed long ago; never after a timeout.
        self.client = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        self._clock = clock
        self._away_until = 0.0

    def run(self, action: Callable[[], _Result]) -> _Result:
        """Do something with Redis.

        Raises:
            BrokerAway: it failed, or failed a moment ago and was not tried.
        """
        now = self._clock()
        if self._away_until > now:
            raise BrokerAway
        probing = self._away_until > 0
        if probing:
            self._away_until = now + _PAUSE_SECONDS
        try:
            result = action()
        except (redis.RedisError, OSError) as error:
            self._away_until = self._clock() + _PAUSE_SECONDS
            raise BrokerAway from error
        if probing:
            self._away_until = 0.0
        return result

    def ping(self) -> None:
        """Raise BrokerAway when Redis does not answer now."""
        try:
            self.client.ping()
        except (redis.RedisError, OSError) as error:
            raise BrokerAway from error
