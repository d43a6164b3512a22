"""The Redis client where no Redis listens."""

from __future__ import annotations

import threading

import pytest

from devstack.ports import free_port
from shared.redis_client import RedisClient, RedisUnavailable


def test_refused_connection_is_remembered() -> None:
    """The next calls fail at once."""
    client = RedisClient(f"redis://127.0.0.1:{free_port()}/0")
    tried = []

    def attempt() -> None:
        tried.append(client.client.ping())

    for _ in range(3):
        with pytest.raises(RedisUnavailable):
            client.run(attempt)
    assert tried == []
    client.close()


def test_one_thread_alone_tries_redis_again() -> None:
    """The others fail at once until it has an answer."""
    now = [100.0]
    client = RedisClient("redis://127.0.0.1:1/0", clock=lambda: now[0])
    with pytest.raises(RedisUnavailable):
        client.run(client.client.ping)
    now[0] += 2.1
    trying, others = threading.Event(), []

    def slow() -> str:
        trying.set()
        with pytest.raises(RedisUnavailable):
            client.run(lambda: others.append("asked"))
        return "back"

    assert client.run(slow) == "back"
    assert trying.is_set()
    assert others == []
    assert client.run(lambda: "all ask again") == "all ask again"
