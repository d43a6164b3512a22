"""A few small keys in Redis that processes share, given up at once while Redis is away.

While it is silent one call in two seconds finds that out; the others do not wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

T = TypeVar("T")

_TIMEOUT_SECONDS = 2
_PAUSE_SECONDS = 2


class RedisUnavailable(Exception):
    """Redis does not answer, or did not a moment ago."""


class RedisClient:
    """A connection pool to Redis that remembers for a moment that Redis is away."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        decode_responses: bool = True,
    ) -> None:
        # Once more for a pooled connection that Redis closed long ago; never after a timeout.
        self.client = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            decode_responses=decode_responses,
        )
        self._clock = clock
        self._away_until = 0.0

    def run(self, action: Callable[[], T]) -> T:
        """Do something with Redis.

        Raises:
            RedisAway: it failed, or failed a moment ago and was not tried.
        """
        now = self._clock()
        if self._away_until > now:
            raise RedisUnavailable
        probing = self._away_until > 0
        if probing:
            self._away_until = now + _PAUSE_SECONDS
        try:
            result = action()
        except (redis.RedisError, OSError) as error:
            self._away_until = self._clock() + _PAUSE_SECONDS
            raise RedisUnavailable from error
        if probing:
            self._away_until = 0.0
        return result

    def close(self) -> None:
        """Let go of the connections."""
        self.client.close()
