"""A Redis client that fails fast: for small keys that processes share.

While Redis is unavailable, one call every two seconds tries it again; all others fail at once, so
that an outage does not keep every thread waiting for a timeout.
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
_RETRY_AFTER_SECONDS = 2


class RedisUnavailable(Exception):
    """Redis failed to execute a command, or failed a moment ago and was not tried again."""


class RedisClient:
    """A connection pool that remembers a failure for two seconds. Safe to share between threads."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        # One retry, for a pooled connection that Redis has closed; none after a timeout.
        self.client = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            decode_responses=True,
        )
        self._clock = clock
        self._retry_at = 0.0

    def run(self, action: Callable[[], T]) -> T:
        """Run an action that uses `client`.

        Raises:
            RedisUnavailable: the action failed, or Redis failed within the last two seconds.
        """
        now = self._clock()
        if self._retry_at > now:
            raise RedisUnavailable
        retrying = self._retry_at > 0
        if retrying:
            self._retry_at = now + _RETRY_AFTER_SECONDS
        try:
            result = action()
        except redis.ResponseError as error:  # it answers: whoever asks for another key is served
            raise RedisUnavailable from error
        except (redis.RedisError, OSError) as error:
            self._retry_at = self._clock() + _RETRY_AFTER_SECONDS
            raise RedisUnavailable from error
        if retrying:
            self._retry_at = 0.0
        return result

    def ping(self) -> None:
        """Ask Redis for a sign of life now, also within two seconds of a failure.

        Raises:
            RedisUnavailable: it does not answer.
        """
        try:
            self.client.ping()
        except (redis.RedisError, OSError) as error:
            raise RedisUnavailable from error

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
