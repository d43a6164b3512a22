"""Evenly spaced slots, reserved in Redis, on the clock of Redis."""

from __future__ import annotations

import itertools

import pytest

from shared.redis_client import RedisUnavailable
from tests.support.fake_redis import Clock, FakeRedisServer
from worker.send_guard.rate_limit import KEY, SHARE, RateLimited, RateLimiter

PER_SECOND = 10
INTERVAL = 1 / (PER_SECOND * SHARE)


class Process:
    """A rate limiter on a clock of its own, which sleeping puts forward."""

    def __init__(self, server: FakeRedisServer, per_second: float = PER_SECOND) -> None:
        self.clock = Clock(50.0)
        self.slept: list[float] = []
        self.limiter = RateLimiter(
            server.redis_client(self.clock), per_second, self.clock, self._sleep
        )

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.now += seconds

    def wait(self, max_wait: float = 60.0, lead: float = 0.0) -> float:
        """Seconds until the reserved slot."""
        return self.limiter.reserve(max_wait, lead) - self.clock.now


@pytest.fixture
def process(fake_redis: FakeRedisServer, redis_clock: Clock) -> Process:
    return Process(fake_redis)


@pytest.mark.parametrize("per_second", [0.2, 1, 10, 250])
def test_slots_of_all_processes_are_evenly_spaced(
    fake_redis: FakeRedisServer, redis_clock: Clock, per_second: float
) -> None:
    """Slightly further apart than the rate asks: a request may be delayed on its way."""
    processes = [Process(fake_redis, per_second) for _ in range(3)]
    waits = [processes[nth % 3].wait(max_wait=1000) for nth in range(12)]
    assert waits[0] == 0
    gaps = [after - before for before, after in itertools.pairwise(waits)]
    assert gaps == pytest.approx([1 / (per_second * SHARE)] * 11, abs=1e-5)


def test_idle_time_earns_no_burst(process: Process, redis_clock: Clock) -> None:
    process.wait()
    redis_clock.now += 30
    assert [process.wait(), process.wait()] == pytest.approx([0, INTERVAL], abs=1e-5)


def test_time_that_passes_shortens_the_wait(process: Process, redis_clock: Clock) -> None:
    process.wait()
    redis_clock.now += INTERVAL / 4
    assert process.wait() == pytest.approx(INTERVAL * 3 / 4, abs=1e-5)


def test_slot_beyond_max_wait_is_not_reserved(process: Process) -> None:
    process.wait()
    with pytest.raises(RateLimited) as caught:
        process.wait(max_wait=INTERVAL * 0.9)
    assert caught.value.seconds == pytest.approx(INTERVAL, abs=1e-5)
    assert process.wait(max_wait=INTERVAL * 1.1) == pytest.approx(INTERVAL, abs=1e-5)


def test_lead_is_the_shortest_wait(process: Process) -> None:
    """And `max_wait` counts from there."""
    assert process.wait(max_wait=0, lead=3) == pytest.approx(3, abs=1e-5)
    assert process.wait(max_wait=INTERVAL * 1.1, lead=3) == pytest.approx(3 + INTERVAL, abs=1e-5)
    with pytest.raises(RateLimited):
        process.wait(max_wait=INTERVAL * 1.1, lead=3)


@pytest.mark.parametrize(
    ("back", "wait"), [(30.0, 30.0 + INTERVAL), (59.0, 59.0 + INTERVAL), (61.0, 0.0), (1e6, 0.0)]
)
def test_clock_set_back_ends_no_service(
    process: Process, redis_clock: Clock, back: float, wait: float
) -> None:
    """No caller waits for more than a minute: a slot further away was reserved on another clock."""
    process.wait()
    redis_clock.now -= back
    assert process.wait(max_wait=1e9) == pytest.approx(wait, abs=1e-5)


def test_key_expires_once_it_has_no_effect(
    fake_redis: FakeRedisServer, process: Process, redis_clock: Clock
) -> None:
    for _ in range(20):
        process.wait()
    kept = fake_redis.client.pttl(KEY) / 1000
    assert kept == pytest.approx(INTERVAL * 20 + 1, abs=0.01)
    redis_clock.now += kept + 0.01
    assert process.wait() == 0


def test_acquire_sleeps_until_the_slot(process: Process) -> None:
    assert process.limiter.acquire(1.0)
    assert process.slept == []
    assert process.limiter.acquire(1.0)
    assert process.slept == pytest.approx([INTERVAL], abs=1e-5)


def test_acquire_without_a_slot_does_not_sleep(
    fake_redis: FakeRedisServer, process: Process
) -> None:
    process.wait()
    assert not process.limiter.acquire(INTERVAL / 2)
    fake_redis.connected = False
    assert not process.limiter.acquire(60)
    assert process.slept == []


def test_sleep_until_says_how_late_it_is(process: Process) -> None:
    assert process.limiter.sleep_until(49.5) == 0.5
    assert process.slept == []
    assert process.limiter.sleep_until(50.25) == 0.0
    assert process.slept == [0.25]


def test_outage_reserves_no_slot(fake_redis: FakeRedisServer, process: Process) -> None:
    """A request that is not counted must not be sent."""
    fake_redis.connected = False
    with pytest.raises(RedisUnavailable):
        process.wait()
