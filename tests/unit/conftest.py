"""Unit tests open no socket and start no process; Redis is in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.fake_redis import Clock, FakeRedisServer
from tests.support.isolation import no_socket_no_process


@pytest.fixture(scope="module", autouse=True)
def _no_socket_no_process() -> Iterator[None]:
    """Of a module: what its own fixtures start counts too."""
    with no_socket_no_process():
        yield


@pytest.fixture
def fake_redis() -> FakeRedisServer:
    """An empty Redis in memory."""
    return FakeRedisServer()


@pytest.fixture
def redis_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of Redis in memory: its TIME, and the expiry of its keys. It stands still."""
    clock = Clock(1_800_000_000.0)
    monkeypatch.setattr(time, "time", clock)
    return clock
