"""The circuit breaker with a real Redis, and during its outage."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from devstack.redis import LocalRedis
from shared.clock import utcnow
from shared.domain.accounts import ConfiguredAccount, ConfiguredAccounts
from shared.domain.circuit_breaker import (
    KEY,
    BreakerRules,
    breaker_key,
    deserialize,
    serialize,
)
from shared.domain.gateway import NeverSent, OrderAnswer, Report
from shared.redis_client import RedisClient
from shared.storage import pauses
from tests.support.jobs import kinds, put_unknown
from tests.support.send_guard import MAX_WAIT, give_guard, permit_for
from worker.jobs.query import query
from worker.send_guard.breaker_store import FallbackBreakerStore, RedisBreakerStore
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.permit import Defer

if TYPE_CHECKING:
    from tests.integration.conftest import World

PAID = Report("create", "a", "o", "e", "1", None, None)
AWAY = NeverSent("connection refused")


def make_breaker(redis: RedisClient, clock: Callable[[], float], **rules: Any) -> CircuitBreaker:
    return CircuitBreaker(
        FallbackBreakerStore(RedisBreakerStore(redis)), BreakerRules(**rules), clock
    )


class Clock:
    """A process's monotonic clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def record_failures(breaker: CircuitBreaker, clock: Clock, answer: OrderAnswer = AWAY) -> None:
    for _ in range(5):
        breaker.record(answer, begun_at=clock(), probe=None)


def test_all_processes_wait_and_one_probes(connect: Callable[[], RedisClient]) -> None:
    """Eight processes at the moment of the retry: one is let through."""
    clock = Clock()
    breakers = [make_breaker(connect(), clock, pause=0.2) for _ in range(8)]
    assert breakers[0].wait() is None
    with structlog.testing.capture_logs() as logs:
        record_failures(breakers[0], clock)
        record_failures(breakers[1], clock)
        clock.ahead += 1
        assert all(breaker.wait() is not None for breaker in breakers)
        time.sleep(0.25)
        with ThreadPoolExecutor(8) as pool:
            tokens = list(pool.map(lambda breaker: breaker.start_probe(), breakers))
        [(nth, token)] = [(nth, token) for nth, token in enumerate(tokens) if token]
        breakers[nth].record(PAID, begun_at=clock(), probe=token)
    clock.ahead += 1
    assert all(breaker.wait() is None for breaker in breakers)
    assert [entry["event"] for entry in logs] == ["breaker_open", "breaker_closed"]
    assert logs[1]["probes"] == 1


def test_open_state_outlives_the_process(connect: Callable[[], RedisClient]) -> None:
    """A worker that starts anew does not begin with many creates at once."""
    clock, redis = Clock(), connect()
    record_failures(make_breaker(redis, clock, pause=60), clock)
    kept = deserialize(redis.client.get(KEY))
    assert kept is not None
    assert "5 creates in a row" in kept.reason
    wait = make_breaker(connect(), clock).wait()
    assert wait is not None
    assert 0 < wait <= 60


def test_without_redis_each_process_has_its_own_state() -> None:
    """It opens and probes; its state is published when Redis is back."""
    clock = Clock()
    with LocalRedis() as server:
        redis, other = RedisClient(server.url), RedisClient(server.url)
        breaker = make_breaker(redis, clock, pause=0.1)
        assert breaker.wait() is None
        server.kill()
        record_failures(breaker, clock)
        assert breaker.wait() is not None
        time.sleep(0.15)
        token = breaker.start_probe()
        assert token is not None
        assert breaker.start_probe() is None
        breaker.record(AWAY, begun_at=clock(), probe=token)
        server.start()
        time.sleep(2.1)
        clock.ahead += 1
        breaker.wait()
        assert deserialize(other.client.get(KEY)) is not None
        redis.close()
        other.close()


def test_our_own_refusals_are_no_failures_of_epay(
    world: World, connect: Callable[[], RedisClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A create that was not sent, for an old lease or a pause, says nothing about EPAY."""
    redis = connect()
    guard = give_guard(world, redis, breaker_failures=1)
    world.context = replace(world.context, total_timeout=timedelta(seconds=60))
    for nth in range(3):
        assert world.ask(f"order-{nth}")["status"] == "queued"
    world.context = replace(world.context, total_timeout=timedelta(seconds=5))
    permit_for(guard, world.row("order-0"))
    pauses.pause(world.engine, pauses.Scope(), "Ann", "audit", utcnow())
    guard = give_guard(world, redis, breaker_failures=1)
    monkeypatch.setattr(guard, "check", lambda payout, **_: guard.recover_permit(payout))
    assert world.ask("paused")["status"] == "queued"
    assert kinds(world, "paused") == ["accepted", "never_sent"]
    assert redis.client.get(KEY) is None


def test_new_sends_wait_while_epay_is_away(
    world: World, connect: Callable[[], RedisClient]
) -> None:
    """Five creates fail; the others wait; queries go on; the probe ends the wait."""
    redis = connect()
    guard = give_guard(world, redis, breaker_pause_seconds=60)
    [asked] = put_unknown(world, "asked")
    world.gateway.set_faults(down_seconds=600, mode="drop")
    for nth in range(12):
        world.ask(f"order-{nth}")
    tried = [nth for nth in range(12) if world.row(f"order-{nth}").attempts]
    assert tried == [0, 1, 2, 3, 4]
    assert all(world.row(f"order-{nth}").status == "queued" for nth in range(5, 12))
    world.gateway.clear_faults()
    assert query(world.context, [asked.id], None) == 1, "queries are never held"
    standing = deserialize(redis.client.get(KEY))
    assert standing is not None
    redis.client.set(KEY, serialize(replace(standing, retry_at=0)))
    time.sleep(1.1)  # a process looks once a second
    [waiting] = [world.row("order-5")]
    assert isinstance(guard.check(waiting, max_wait=timedelta(0)), Defer), "no wait, no probe"
    assert world.ask("probe")["status"] == "processing"
    assert world.ask("after")["status"] == "processing"


def test_a_gateway_that_is_away_holds_up_its_own_payouts_alone(
    world: World, connect: Callable[[], RedisClient]
) -> None:
    """Law 15: accounts at two gateways. The key of the default account's gateway stays."""
    redis = connect()
    live = ConfiguredAccount("live@epay.com", "live.example")
    other = ConfiguredAccount("other@epay.com", "other.example", ("old.example",))
    accounts = ConfiguredAccounts((other, live, replace(live, account="second@epay.com")), live)
    guard = give_guard(world, redis, accounts, breaker_failures=1)
    [ours] = put_unknown(world, "ours", epay_gateway="live.example")
    [theirs] = put_unknown(world, "theirs", epay_gateway="other.example")
    [older] = put_unknown(world, "older", epay_gateway="old.example")
    permit = permit_for(guard, theirs)
    assert permit.confirm() is None
    permit.record(AWAY)
    for held in (theirs, older):
        assert isinstance(guard.check(held, max_wait=timedelta(0)), Defer)
    assert permit_for(guard, ours).confirm() is None
    assert redis.client.get(KEY) is None
    assert deserialize(redis.client.get(breaker_key("other.example"))) is not None
    permit = permit_for(guard, ours)
    permit.confirm()
    permit.record(AWAY)
    assert deserialize(redis.client.get(KEY)) is not None


def test_a_released_probe_is_free_for_another(
    world: World, connect: Callable[[], RedisClient]
) -> None:
    """One probe at a time; a released one does not count."""
    redis = connect()
    guard = give_guard(world, redis, breaker_pause_seconds=0.1, breaker_failures=1)
    one, other = put_unknown(world, "one", "other")
    first = permit_for(guard, one)
    assert first.confirm() is None
    first.record(AWAY)
    assert deserialize(redis.client.get(KEY)) is not None
    time.sleep(0.15)
    unused = permit_for(guard, one)
    standing = deserialize(redis.client.get(KEY))
    assert standing is not None
    assert standing.probe is not None
    assert isinstance(guard.check(other, max_wait=MAX_WAIT), Defer)
    unused.release()
    permit_for(guard, other)
    again = deserialize(redis.client.get(KEY))
    assert again is not None
    assert again.probe not in {None, standing.probe}
    assert again.probes == 1
