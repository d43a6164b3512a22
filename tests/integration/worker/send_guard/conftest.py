"""Clients of a real Redis, and one of none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from devstack.ports import free_port
from shared.redis_client import RedisClient


@pytest.fixture
def connect(redis_url: str) -> Iterator[Callable[[], RedisClient]]:
    """Make the Redis client of another process, at each call."""
    made: list[RedisClient] = []

    def make() -> RedisClient:
        made.append(RedisClient(redis_url))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def unavailable_redis() -> Iterator[RedisClient]:
    """A client of a port on which nothing listens."""
    client = RedisClient(f"redis://127.0.0.1:{free_port()}/0")
    yield client
    client.close()
