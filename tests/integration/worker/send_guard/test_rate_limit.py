"""The rate limit with a real Redis, and during its outage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from shared.redis_client import RedisClient
from tests.support.jobs import put_unknown
from tests.support.send_guard import give_guard, permit_for
from worker.jobs.query import query
from worker.send_guard.rate_limit import SHARE, RateLimited, RateLimiter

if TYPE_CHECKING:
    from tests.integration.conftest import World


def calls(redis: RedisClient) -> int:
    """How many scripts Redis has run; the send guard uses nothing else."""
    counted = redis.client.info("commandstats")
    return int(counted.get("cmdstat_evalsha", {}).get("calls", 0))


def test_slots_of_many_processes_are_evenly_spaced(connect: Callable[[], RedisClient]) -> None:
    """100 a second, four processes of eight threads: 150 slots take a second and a half."""
    limiters, began = [RateLimiter(connect(), 100) for _ in range(4)], time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        slots = sorted(pool.map(lambda nth: limiters[nth % 4].reserve(5), range(150)))
    assert all(turn - began >= nth * 0.01 for nth, turn in enumerate(slots))


def test_idle_time_is_not_saved_up(connect: Callable[[], RedisClient]) -> None:
    """No burst after a pause: the slots begin now, one interval apart."""
    limiter = RateLimiter(connect(), 20)
    limiter.reserve(0)
    time.sleep(0.5)
    began = time.monotonic()
    assert RateLimiter(connect(), 20, clock=lambda: 0.0).reserve(5) == 0
    slots = [limiter.reserve(5) - began for _ in range(4)]
    assert all(turn >= nth * 0.05 for nth, turn in enumerate(slots, start=1))


def test_no_slot_within_the_wait_reserves_none(connect: Callable[[], RedisClient]) -> None:
    limiter = RateLimiter(connect(), 0.01)
    first = limiter.reserve(0)
    with pytest.raises(RateLimited) as caught:
        limiter.reserve(30)
    apart = 100 / SHARE
    assert 30 < caught.value.seconds <= apart
    assert limiter.reserve(200) - first == pytest.approx(apart, rel=0.5), (
        "the refusal reserved none"
    )


def test_clock_set_back_ends_no_service(connect: Callable[[], RedisClient]) -> None:
    redis = connect()
    redis.client.set("payouts:pace", str((int(time.time()) + 86_400) * 1_000_000))
    assert RateLimiter(redis, 10).reserve(0) <= time.monotonic()


def test_without_a_rate_and_in_health_redis_is_hardly_asked(
    world: World, connect: Callable[[], RedisClient]
) -> None:
    """Thirty payouts and a query: the breaker is read at most once a second, and nothing else."""
    give_guard(world, connect())
    observer = connect()
    before, began = calls(observer), time.monotonic()
    for nth in range(30):
        assert world.ask(f"order-{nth}")["status"] == "processing"
    query(world.context, [world.row("order-0").id], None)
    reads = int(time.monotonic() - began) + 1
    assert 1 <= calls(observer) - before <= reads + 1, "once more for a script not yet known"


def test_creates_and_queries_take_slots(world: World, connect: Callable[[], RedisClient]) -> None:
    """Eight creates and eight queries at ten a second take a second and a half."""
    give_guard(world, connect(), epay_max_per_second=10)
    ids = [row.id for row in put_unknown(world, *[f"asked-{nth}" for nth in range(8)])]
    began, sent_after = time.monotonic(), time.time()
    with ThreadPoolExecutor(9) as pool:
        answered = pool.submit(query, world.context, ids, None)
        sent = list(pool.map(lambda nth: world.ask(f"sent-{nth}"), range(8)))
    assert answered.result() == 8
    assert {each["status"] for each in sent} == {"processing"}
    assert time.monotonic() - began >= 1.4
    at = sorted(moment for moment, _, _ in world.gateway.log.since(0))
    assert all(moment - sent_after >= nth * 0.1 for nth, moment in enumerate(at)), "none is early"


def test_redis_away_with_a_rate_nothing_is_sent_unpaced(
    world: World, unavailable_redis: RedisClient
) -> None:
    """New sends wait, a query stays unanswered and changes nothing."""
    guard = give_guard(world, unavailable_redis, epay_max_per_second=10)
    [asked] = put_unknown(world, "asked")
    assert world.ask()["status"] == "queued"
    refusal = "Redis is unavailable, and EPAY_MAX_PER_SECOND is set"
    assert guard.recover_permit(world.row()).confirm() == refusal
    assert query(world.context, [asked.id], None) == 0
    assert world.row("asked") == asked
    assert world.gateway.log.since(0) == []


def test_redis_away_without_a_rate_sends_go_on(
    world: World, unavailable_redis: RedisClient
) -> None:
    give_guard(world, unavailable_redis)
    assert world.ask()["status"] == "processing"


def test_slot_that_passed_is_reserved_anew(
    world: World, connect: Callable[[], RedisClient]
) -> None:
    """Ten senders held up between slot and request do not send together."""
    guard = give_guard(world, connect(), epay_max_per_second=20)
    payouts = put_unknown(world, *[f"order-{nth}" for nth in range(10)])
    barrier, begun, left = threading.Barrier(10), [], []

    def late(payout: Any) -> None:
        permit = permit_for(guard, payout)
        barrier.wait()
        time.sleep(0.3)
        begun.append(time.monotonic())
        assert permit.confirm() is None
        left.append(time.monotonic())

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(late, payouts))
    assert all(at - min(begun) >= nth * 0.05 for nth, at in enumerate(sorted(left)))
