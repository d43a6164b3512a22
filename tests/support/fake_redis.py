"""Redis in the memory of the test, for unit tests: no server, no socket."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis
from fakeredis import FakeRedisConnection, FakeServer

from shared.redis_client import RedisClient


class FakeRedisServer:
    """Redis that can be unavailable. Set `connected` to False: connections break, new ones fail."""

    def __init__(self) -> None:
        self._server = FakeServer()
        self.client = redis.Redis(
            connection_pool=redis.ConnectionPool(
                connection_class=FakeRedisConnection, server=self._server, decode_responses=True
            )
        )
        """For what the test itself reads and writes."""

    @property
    def connected(self) -> bool:
        """Whether Redis is available."""
        return self._server.connected

    @connected.setter
    def connected(self, value: bool) -> None:
        self._server.connected = value

    def redis_client(self, clock: Callable[[], float] = time.monotonic) -> RedisClient:
        """The client of one process, as the product makes it but for its connections."""
        client = RedisClient("redis://in-memory", clock)
        pool = client.client.connection_pool
        pool.connection_class = FakeRedisConnection
        pool.connection_kwargs["server"] = self._server
        return client


class Clock:
    """A clock that stands still until the test sets `now`; seconds."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time."""
        return self.now
