"""Limits shared by the webhook's processes; each limits alone while Redis is unavailable."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.redis_client import RedisClient
from tests.support.fake_redis import Clock, FakeRedisServer
from webhook.rate_limit import SharedLimit

MakeLimit = Callable[..., SharedLimit]


@pytest.fixture
def clock() -> Clock:
    """The monotonic clock of the processes."""
    return Clock(100.0)


@pytest.fixture
def make_limit(fake_redis: FakeRedisServer, redis_clock: Clock, clock: Clock) -> MakeLimit:
    """Make the limit of another process."""

    def make(limit: str = "3/minute", name: str = "test") -> SharedLimit:
        client: RedisClient = fake_redis.redis_client(clock)
        return SharedLimit(client, limit, name, clock)

    return make


def test_limit_counts_over_all_processes(make_limit: MakeLimit) -> None:
    one, two = make_limit(), make_limit()
    assert [one.hit(), two.hit(), one.hit()] == [True] * 3
    assert [one.hit(), two.hit()] == [False] * 2


def test_keys_and_names_have_counts_of_their_own(make_limit: MakeLimit) -> None:
    limit = make_limit("1/minute")
    assert [limit.hit("a"), limit.hit("a"), limit.hit("b")] == [True, False, True]
    assert make_limit("1/minute", name="other").hit("a")


def test_window_ends(make_limit: MakeLimit, redis_clock: Clock, clock: Clock) -> None:
    limit = make_limit("1/minute")
    assert [limit.hit(), limit.hit()] == [True, False]
    redis_clock.now += 61
    clock.now += 61
    assert limit.hit()


def test_full_key_is_not_asked_for_again_within_a_second(
    fake_redis: FakeRedisServer, make_limit: MakeLimit, clock: Clock
) -> None:
    """A flood costs Redis one command a second."""
    limit = make_limit("1/minute")
    limit.hit("a")
    assert not limit.is_full("a")
    limit.hit("a")
    assert limit.is_full("a")
    assert not limit.is_full("b")
    fake_redis.client.flushall()
    clock.now += 0.9
    assert not limit.hit("a")
    assert fake_redis.client.dbsize() == 0
    clock.now += 0.2
    assert not limit.is_full("a")
    assert limit.hit("a")


def test_cache_of_full_keys_is_bounded(
    make_limit: MakeLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.rate_limit._FULL_CACHE_MAX_KEYS", 10)
    limit = make_limit("1/hour")
    for number in range(50):
        assert [limit.hit(str(number)) for _ in range(2)] == [True, False]
    assert len(limit._full_until) <= 10


def test_each_process_limits_alone_during_an_outage(
    fake_redis: FakeRedisServer, make_limit: MakeLimit, clock: Clock
) -> None:
    one, two = make_limit(), make_limit()
    fake_redis.connected = False
    for limit in (one, two):
        assert [limit.hit() for _ in range(5)] == [True, True, True, False, False]
    fake_redis.connected = True
    clock.now += 2.1
    assert [one.hit() for _ in range(4)] == [True, True, True, False], "Redis counted none of them"
