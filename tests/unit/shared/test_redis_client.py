"""A failure of Redis is remembered for two seconds; then one call tries it again."""

from __future__ import annotations

import pytest
import redis

from shared.redis_client import RedisClient, RedisUnavailable
from tests.support.fake_redis import Clock, FakeRedisServer


class Calls:
    """An action that counts how often it reached for Redis."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self.made = 0

    def __call__(self) -> str | None:
        self.made += 1
        return self._client.client.get("key")


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def client(fake_redis: FakeRedisServer, clock: Clock) -> RedisClient:
    return fake_redis.redis_client(clock)


@pytest.fixture
def calls(client: RedisClient) -> Calls:
    return Calls(client)


def test_result_is_returned_as_text(
    fake_redis: FakeRedisServer, client: RedisClient, calls: Calls
) -> None:
    fake_redis.client.set("key", "value")
    assert client.run(calls) == "value"


def test_failure_is_remembered_for_two_seconds(
    fake_redis: FakeRedisServer, client: RedisClient, clock: Clock, calls: Calls
) -> None:
    """Also when Redis is back by then."""
    fake_redis.connected = False
    with pytest.raises(RedisUnavailable) as caught:
        client.run(calls)
    assert isinstance(caught.value.__cause__, redis.ConnectionError)
    fake_redis.connected = True
    clock.now += 1.9
    with pytest.raises(RedisUnavailable):
        client.run(calls)
    assert calls.made == 1
    clock.now += 0.2
    assert client.run(calls) is None
    assert client.run(calls) is None
    assert calls.made == 3


def test_failed_retry_is_remembered_from_its_end(
    fake_redis: FakeRedisServer, client: RedisClient, clock: Clock, calls: Calls
) -> None:
    """A retry that waits for a timeout does not shorten the two seconds."""
    fake_redis.connected = False

    def time_out() -> None:
        clock.now += 2.0
        calls()

    for _ in range(2):
        with pytest.raises(RedisUnavailable):
            client.run(time_out)
        clock.now += 1.9
        with pytest.raises(RedisUnavailable):
            client.run(time_out)
        clock.now += 0.2
    assert calls.made == 2


def test_one_call_retries_and_the_others_fail_at_once(
    fake_redis: FakeRedisServer, client: RedisClient, clock: Clock, calls: Calls
) -> None:
    """Those that come while the retry waits for its answer."""
    fake_redis.connected = False
    with pytest.raises(RedisUnavailable):
        client.run(calls)
    fake_redis.connected = True
    clock.now += 2.1

    def slow_retry() -> str | None:
        with pytest.raises(RedisUnavailable):
            client.run(calls)
        return calls()

    client.run(slow_retry)
    assert calls.made == 2
    client.run(calls)
    assert calls.made == 3


@pytest.mark.parametrize(
    "error", [redis.ConnectionError(), redis.TimeoutError(), redis.ResponseError("OOM"), OSError()]
)
def test_every_failure_of_redis_is_unavailability(client: RedisClient, error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(RedisUnavailable):
        client.run(fail)


def test_error_of_the_action_itself_is_raised_and_not_remembered(
    client: RedisClient, calls: Calls
) -> None:
    def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        client.run(fail)
    assert client.run(calls) is None


def test_ping_asks_redis_also_within_the_two_seconds(
    fake_redis: FakeRedisServer, client: RedisClient, calls: Calls
) -> None:
    fake_redis.connected = False
    with pytest.raises(RedisUnavailable):
        client.run(calls)
    with pytest.raises(RedisUnavailable):
        client.ping()
    fake_redis.connected = True
    client.ping()


def test_connection_that_redis_closed_is_replaced(
    fake_redis: FakeRedisServer, client: RedisClient, calls: Calls
) -> None:
    """A pooled connection that died while idle is no failure."""
    client.run(calls)
    fake_redis.client.client_kill_filter(_type="normal", skipme=True)
    assert client.run(calls) is None
