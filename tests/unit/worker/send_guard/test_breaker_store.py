"""The circuit breaker's state in Redis, and in memory while Redis is unavailable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.circuit_breaker import KEPT_SECONDS, KEY, OpenState, deserialize, serialize
from shared.redis_client import RedisUnavailable
from tests.support.fake_redis import Clock, FakeRedisServer
from worker.send_guard.breaker_store import FallbackBreakerStore, RedisBreakerStore

OPEN = OpenState(since=100.25, reason='no "answer"', pause=5.0, retry_at=105.25)
PROBING = replace(OPEN, probes=1, probe="token", probe_until=135.0)
OTHER = replace(OPEN, since=200.0)


@pytest.fixture
def process_clock() -> Clock:
    """The monotonic clock of the process."""
    return Clock(50.0)


@pytest.fixture
def store(fake_redis: FakeRedisServer) -> RedisBreakerStore:
    return RedisBreakerStore(fake_redis.redis_client())


@pytest.fixture
def fallback(
    fake_redis: FakeRedisServer, redis_clock: Clock, process_clock: Clock
) -> FallbackBreakerStore:
    return FallbackBreakerStore(RedisBreakerStore(fake_redis.redis_client(process_clock)))


def in_redis(fake_redis: FakeRedisServer) -> OpenState | None:
    return deserialize(fake_redis.client.get(KEY))


def test_time_is_that_of_redis(store: RedisBreakerStore, redis_clock: Clock) -> None:
    redis_clock.now = 1_800_000_000.75
    assert store.read() == (1_800_000_000.75, None)


def test_state_is_read_by_every_process(
    fake_redis: FakeRedisServer, store: RedisBreakerStore
) -> None:
    assert store.swap(None, OPEN)
    other = RedisBreakerStore(fake_redis.redis_client())
    assert other.read()[1] == OPEN
    assert other.swap(OPEN, PROBING)
    assert store.read()[1] == PROBING
    assert store.swap(PROBING, None)
    assert not fake_redis.client.exists(KEY)


@pytest.mark.parametrize(
    ("kept", "old"), [(None, OPEN), (OPEN, None), (OPEN, PROBING), (PROBING, OPEN)]
)
@pytest.mark.parametrize("new", [None, OTHER])
def test_swap_changes_nothing_but_the_expected_state(
    fake_redis: FakeRedisServer,
    store: RedisBreakerStore,
    kept: OpenState | None,
    old: OpenState | None,
    new: OpenState | None,
) -> None:
    """Compare-and-set: a process that read an older state changes nothing."""
    store.swap(None, kept)
    assert not store.swap(old, new)
    assert in_redis(fake_redis) == kept


def test_open_state_expires(
    fake_redis: FakeRedisServer, store: RedisBreakerStore, redis_clock: Clock
) -> None:
    """An hour after its last change."""
    store.swap(None, OPEN)
    assert fake_redis.client.ttl(KEY) == KEPT_SECONDS
    redis_clock.now += KEPT_SECONDS - 1
    store.swap(OPEN, PROBING)
    redis_clock.now += KEPT_SECONDS - 1
    assert store.read()[1] == PROBING
    redis_clock.now += 2
    assert store.read()[1] is None


@pytest.mark.parametrize("text", ["rubbish", "[]", '{"since": 1}'])
def test_unreadable_state_counts_as_closed(
    fake_redis: FakeRedisServer, store: RedisBreakerStore, text: str
) -> None:
    fake_redis.client.set(KEY, text)
    assert store.read()[1] is None


def test_outage_is_raised(fake_redis: FakeRedisServer, store: RedisBreakerStore) -> None:
    fake_redis.connected = False
    with pytest.raises(RedisUnavailable):
        store.read()
    with pytest.raises(RedisUnavailable):
        store.swap(None, OPEN)


def test_fallback_keeps_the_last_state_read(
    fake_redis: FakeRedisServer, fallback: FallbackBreakerStore, redis_clock: Clock
) -> None:
    fake_redis.client.set(KEY, serialize(OPEN))
    fallback.read()
    fake_redis.connected = False
    assert fallback.read() == (redis_clock.now, OPEN)
    assert not fallback.swap(None, OTHER)
    assert fallback.swap(OPEN, PROBING)
    assert fallback.read()[1] == PROBING


def test_fallback_publishes_its_own_state_after_the_outage(
    fake_redis: FakeRedisServer, fallback: FallbackBreakerStore, process_clock: Clock
) -> None:
    fake_redis.connected = False
    assert fallback.swap(None, OPEN)
    fake_redis.connected = True
    assert fallback.read()[1] == OPEN, "Redis is not asked yet"
    assert in_redis(fake_redis) is None
    process_clock.now += 2.1
    assert fallback.read()[1] == OPEN
    assert in_redis(fake_redis) == OPEN


def test_state_of_the_others_goes_before_our_own(
    fake_redis: FakeRedisServer, fallback: FallbackBreakerStore, process_clock: Clock
) -> None:
    fake_redis.connected = False
    fallback.swap(None, OPEN)
    fake_redis.connected = True
    fake_redis.client.set(KEY, serialize(OTHER))
    process_clock.now += 2.1
    assert fallback.read()[1] == OTHER
    assert in_redis(fake_redis) == OTHER


def test_unchanged_state_is_not_published(
    fake_redis: FakeRedisServer, fallback: FallbackBreakerStore, process_clock: Clock
) -> None:
    """What another process closed meanwhile is not opened again, though a swap failed."""
    fake_redis.client.set(KEY, serialize(OPEN))
    fallback.read()
    fake_redis.connected = False
    assert fallback.read()[1] == OPEN
    assert not fallback.swap(None, OTHER)
    fake_redis.connected = True
    fake_redis.client.delete(KEY)
    process_clock.now += 2.1
    assert fallback.read()[1] is None
    assert in_redis(fake_redis) is None


def test_swap_in_redis_is_kept_for_the_next_outage(
    fake_redis: FakeRedisServer, fallback: FallbackBreakerStore
) -> None:
    assert fallback.swap(None, OPEN)
    assert in_redis(fake_redis) == OPEN
    fake_redis.connected = False
    assert fallback.read()[1] == OPEN
