"""Rate limit, circuit breaker and amount limits with a real Redis, and during its outage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import SecretStr

from devstack.ports import free_port
from devstack.redis import LocalRedis
from sandbox.server import Gateway
from sandbox.settings import SandboxConfig
from shared.clock import utcnow
from shared.config.settings import Settings
from shared.domain.circuit_breaker import KEY, BreakerRules, deserialize, serialize
from shared.domain.gateway import NeverSent, OrderAnswer, Report
from shared.domain.payout import PayoutState
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.redis_client import RedisClient, RedisUnavailable
from shared.storage import pauses
from tests.support.jobs import kinds, of_ledger, put_unknown
from worker.context import QueryPool
from worker.jobs.query import query
from worker.send_guard.breaker_store import FallbackBreakerStore, RedisBreakerStore
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.factory import make_acquire, make_rate_limiter, make_send_guard
from worker.send_guard.guard import WorkerSendGuard
from worker.send_guard.interface import Defer, Reject
from worker.send_guard.permit import WorkerPermit
from worker.send_guard.rate_limit import SHARE, RateLimited, RateLimiter

if TYPE_CHECKING:
    from tests.integration.conftest import World

MAX_WAIT = timedelta(seconds=5)
PAID = Report("create", "a", "o", "e", "1", None, None)
AWAY = NeverSent("connection refused")


@pytest.fixture
def connect(redis_url: str) -> Iterator[Callable[[], RedisClient]]:
    """A process's way to Redis, one for each call."""
    made: list[RedisClient] = []

    def one() -> RedisClient:
        made.append(RedisClient(redis_url))
        return made[-1]

    yield one
    for each in made:
        each.close()


@pytest.fixture
def nowhere() -> Iterator[RedisClient]:
    redis = RedisClient(f"redis://127.0.0.1:{free_port()}/0")
    yield redis
    redis.close()


def gate_of(world: World, redis: RedisClient, **settings: Any) -> WorkerSendGuard:
    """The gate of a worker process with these settings, and the pace of its queries."""
    made = Settings(_env_file=None, redis_url="redis://x", **settings)
    pace = make_rate_limiter(made, redis)
    client = world.context.gateway
    assert isinstance(client, EpayClient)
    gate = make_send_guard(made, world.engine, redis, client.limit, pace)
    asking = QueryPool(client, 8, make_acquire(pace))
    world.context = replace(world.context, send_guard=gate, query_many=asking)
    return gate


def permitted(gate: WorkerSendGuard, payout: PayoutState) -> WorkerPermit:
    """The permit to send it now."""
    permit = gate.check(payout, max_wait=MAX_WAIT)
    assert isinstance(permit, WorkerPermit)
    return permit


def calls(redis: RedisClient) -> int:
    """How often the server was ever asked for anything of ours: all goes by scripts."""
    counted = redis.client.info("commandstats")
    return int(counted.get("cmdstat_evalsha", {}).get("calls", 0))


# Pace


def test_turns_of_many_processes_are_evenly_spaced(connect: Callable[[], RedisClient]) -> None:
    """100 a second, four processes of eight threads: 150 turns last a second and a half."""
    paces, began = [RateLimiter(connect(), 100) for _ in range(4)], time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        turns = sorted(pool.map(lambda nth: paces[nth % 4].reserve(5), range(150)))
    assert all(turn - began >= nth * 0.01 for nth, turn in enumerate(turns))


def test_idle_time_is_not_saved_up(connect: Callable[[], RedisClient]) -> None:
    """No burst after a pause: the turns begin now, one interval apart."""
    pace = RateLimiter(connect(), 20)
    pace.reserve(0)
    time.sleep(0.5)
    began = time.monotonic()
    assert RateLimiter(connect(), 20, clock=lambda: 0.0).reserve(5) == 0
    turns = [pace.reserve(5) - began for _ in range(4)]
    assert all(turn >= nth * 0.05 for nth, turn in enumerate(turns, start=1))


def test_no_slot_within_the_wait_reserves_none(connect: Callable[[], RedisClient]) -> None:
    pace = RateLimiter(connect(), 0.01)
    first = pace.reserve(0)
    with pytest.raises(RateLimited) as caught:
        pace.reserve(30)
    apart = 100 / SHARE
    assert 30 < caught.value.seconds <= apart
    assert pace.reserve(200) - first == pytest.approx(apart, rel=0.5), "the refused took no turn"


def test_a_clock_that_went_back_stops_nobody(connect: Callable[[], RedisClient]) -> None:
    redis = connect()
    redis.client.set("payouts:pace", str((int(time.time()) + 86_400) * 1_000_000))
    assert RateLimiter(redis, 10).reserve(0) <= time.monotonic()


def test_without_a_rate_and_in_health_redis_is_hardly_asked(
    world: World, connect: Callable[[], RedisClient]
) -> None:
    """Thirty payouts and a query: the breaker's look at most once a second, and nothing else."""
    gate_of(world, connect())
    watching = connect()
    before, began = calls(watching), time.monotonic()
    for nth in range(30):
        assert world.ask(f"order-{nth}")["status"] == "processing"
    query(world.context, [world.row("order-0").id], None)
    looks = int(time.monotonic() - began) + 1
    assert 1 <= calls(watching) - before <= looks + 1, "once more for a script not yet known"


def test_creates_and_queries_take_turns(world: World, connect: Callable[[], RedisClient]) -> None:
    """Eight creates and eight queries at ten a second last one and a half."""
    gate_of(world, connect(), epay_max_per_second=10)
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


def test_redis_away_with_a_rate_nothing_is_sent_unpaced(world: World, nowhere: RedisClient) -> None:
    """New sends wait, a query stays unanswered and changes nothing."""
    gate = gate_of(world, nowhere, epay_max_per_second=10)
    [asked] = put_unknown(world, "asked")
    assert world.ask()["status"] == "queued"
    refusal = "Redis is unavailable, and EPAY_MAX_PER_SECOND is set"
    assert gate.recover_permit(world.row()).confirm() == refusal
    assert query(world.context, [asked.id], None) == 0
    assert world.row("asked") == asked
    assert world.gateway.log.since(0) == []


def test_redis_away_without_a_rate_sends_go_on(world: World, nowhere: RedisClient) -> None:
    gate_of(world, nowhere)
    assert world.ask()["status"] == "processing"


def test_a_turn_that_passed_is_taken_anew(world: World, connect: Callable[[], RedisClient]) -> None:
    """Ten senders held up between turn and send do not leave together."""
    gate = gate_of(world, connect(), epay_max_per_second=20)
    payouts = put_unknown(world, *[f"order-{nth}" for nth in range(10)])
    barrier, begun, left = threading.Barrier(10), [], []

    def late(payout: Any) -> None:
        permit = permitted(gate, payout)
        barrier.wait()
        time.sleep(0.3)
        begun.append(time.monotonic())
        assert permit.confirm() is None
        left.append(time.monotonic())

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(late, payouts))
    assert all(at - min(begun) >= nth * 0.05 for nth, at in enumerate(sorted(left)))


# Breaker


def breaker_on(redis: RedisClient, clock: Callable[[], float], **rules: Any) -> CircuitBreaker:
    return CircuitBreaker(
        FallbackBreakerStore(RedisBreakerStore(redis)), BreakerRules(**rules), clock
    )


class Clock:
    """A process's monotonic clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def fails(breaker: CircuitBreaker, clock: Clock, answer: OrderAnswer = AWAY) -> None:
    for _ in range(5):
        breaker.record(answer, begun_at=clock(), probe=None)


def test_all_processes_wait_and_one_probes(connect: Callable[[], RedisClient]) -> None:
    """Eight processes at the moment of the retry: one is let through."""
    clock = Clock()
    breakers = [breaker_on(connect(), clock, pause=0.2) for _ in range(8)]
    assert breakers[0].wait() is None
    with structlog.testing.capture_logs() as logs:
        fails(breakers[0], clock)
        fails(breakers[1], clock)
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


def test_what_is_open_outlives_the_process(connect: Callable[[], RedisClient]) -> None:
    """A worker that starts anew does not begin with a crowd of sends."""
    clock, redis = Clock(), connect()
    fails(breaker_on(redis, clock, pause=60), clock)
    kept = deserialize(redis.client.get(KEY))
    assert kept is not None
    assert "5 creates in a row" in kept.reason
    wait = breaker_on(connect(), clock).wait()
    assert wait is not None
    assert 0 < wait <= 60


def test_without_redis_each_goes_by_what_it_saw() -> None:
    """It opens, probes and closes; and what it found is told when Redis is back."""
    clock = Clock()
    with LocalRedis() as server:
        redis, other = RedisClient(server.url), RedisClient(server.url)
        breaker = breaker_on(redis, clock, pause=0.1)
        assert breaker.wait() is None
        server.kill()
        fails(breaker, clock)
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


def test_our_own_brakes_are_no_evidence(
    world: World, connect: Callable[[], RedisClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was never asked of EPAY says nothing of EPAY: neither an old lease, nor a pause."""
    redis = connect()
    gate = gate_of(world, redis, breaker_failures=1)
    world.context = replace(world.context, total_timeout=timedelta(seconds=60))
    for nth in range(3):
        assert world.ask(f"order-{nth}")["status"] == "queued"
    world.context = replace(world.context, total_timeout=timedelta(seconds=5))
    permitted(gate, world.row("order-0"))
    pauses.pause(world.engine, pauses.Scope(), "Ann", "audit", utcnow())
    gate = gate_of(world, redis, breaker_failures=1)
    monkeypatch.setattr(gate, "check", lambda payout, **_: gate.recover_permit(payout))
    assert world.ask("paused")["status"] == "queued"
    assert kinds(world, "paused") == ["accepted", "never_sent"]
    assert redis.client.get(KEY) is None


def test_new_sends_wait_while_epay_is_away(
    world: World, connect: Callable[[], RedisClient]
) -> None:
    """Five creates find it out; the others wait; queries are asked; the probe lets all go on."""
    redis = connect()
    gate = gate_of(world, redis, breaker_pause_seconds=60)
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
    assert isinstance(gate.check(waiting, max_wait=timedelta(0)), Defer), "no wait, no probe"
    assert world.ask("probe")["status"] == "processing"
    assert world.ask("after")["status"] == "processing"


def test_a_released_probe_is_free_for_another(
    world: World, connect: Callable[[], RedisClient]
) -> None:
    """One probe at a time; given back, it did not happen; an answer to it is recorded once."""
    redis = connect()
    gate = gate_of(world, redis, breaker_pause_seconds=0.1, breaker_failures=1)
    one, other = put_unknown(world, "one", "other")
    first = permitted(gate, one)
    assert first.confirm() is None
    first.record(AWAY)
    assert deserialize(redis.client.get(KEY)) is not None
    time.sleep(0.15)
    unused = permitted(gate, one)
    standing = deserialize(redis.client.get(KEY))
    assert standing is not None
    assert standing.probe is not None
    assert isinstance(gate.check(other, max_wait=MAX_WAIT), Defer)
    unused.release()
    permitted(gate, other)
    again = deserialize(redis.client.get(KEY))
    assert again is not None
    assert again.probe not in {None, standing.probe}
    assert again.probes == 1


# Limits

LIMITED = "USD=10:500,EUR=0:9999999"


@pytest.fixture
def limiting(world: World) -> Iterator[World]:
    """EPAY takes 10 to 500 USD."""
    with Gateway(SandboxConfig(limits=LIMITED, pay_after=0.05)) as gateway:
        client = EpayClient(
            EpayConfig(
                base_url=gateway.base_url,
                account="test2020@epay.com",
                api_key=SecretStr("TESTKEY123"),
                connect_timeout=30,
                read_timeout=30,
                total_timeout=60,
            )
        )
        world.gateway = gateway
        world.context = replace(world.context, gateway=client)
        yield world
        client.close()


def asked_limits(world: World) -> int:
    return [call for _, call, _ in world.gateway.log.since(0)].count("getLimit")


@pytest.mark.parametrize("amount", ["9.99", "500.01"])
def test_an_amount_outside_is_rejected_with_the_limit(
    limiting: World, connect: Callable[[], RedisClient], amount: str
) -> None:
    gate_of(limiting, connect(), epay_check_limits="on")
    assert limiting.ask(amount=amount)["status"] == "rejected"
    words = f"{amount} USD is outside EPAY's limit: EPAY's limit is 10 to 500 USD for channel 11"
    assert limiting.row().refusal == words
    assert of_ledger(limiting)["creates_received"] == 0


@pytest.mark.parametrize("amount", ["10", "500"])
def test_an_end_of_the_range_is_for_epay_to_decide(
    limiting: World, connect: Callable[[], RedisClient], amount: str
) -> None:
    """Not documented whether it belongs to the range."""
    gate_of(limiting, connect(), epay_check_limits="on")
    assert limiting.ask(amount=amount)["status"] == "processing"


def test_a_process_asks_for_a_limit_once_in_its_time(
    limiting: World, connect: Callable[[], RedisClient]
) -> None:
    """Once per process, currency and channel, also if many threads need it at the same moment."""
    for nth in range(3):
        gate_of(limiting, connect(), epay_check_limits="on", epay_limit_cache_seconds=60)
        with ThreadPoolExecutor(8) as pool:
            asked = list(pool.map(limiting.ask, [f"order-{nth}-{each}" for each in range(8)]))
        assert {each["status"] for each in asked} == {"processing"}
        assert asked_limits(limiting) == nth + 1
    limiting.ask("euro", currency="EUR")
    limiting.ask("advcash", channel_code="12")
    assert asked_limits(limiting) == 5


def test_a_limit_is_asked_for_again_when_its_time_is_over(
    limiting: World, connect: Callable[[], RedisClient]
) -> None:
    gate_of(limiting, connect(), epay_check_limits="on", epay_limit_cache_seconds=0.5)
    limiting.ask("order-1")
    time.sleep(0.6)
    limiting.ask("order-2")
    assert asked_limits(limiting) == 2


def test_a_limit_that_epay_does_not_tell_lets_the_payout_wait(
    limiting: World, connect: Callable[[], RedisClient]
) -> None:
    """Refused, or EPAY away: queued, nothing is sent, nothing rejected; it asks again later."""
    gate = gate_of(limiting, connect(), epay_check_limits="on")
    assert limiting.ask("refused", currency="GBP")["status"] == "queued"
    limiting.gateway.set_faults(down_seconds=600)
    assert limiting.ask("away")["status"] == "queued"
    for no in ("refused", "away"):
        assert limiting.row(no).due_at is not None
        assert limiting.row(no).review_reason is None
        assert limiting.row(no).attempts == 0
    assert isinstance(gate.check(limiting.row("away"), max_wait=MAX_WAIT), Defer)
    limiting.gateway.clear_faults()
    gate_of(limiting, connect(), epay_check_limits="on")
    assert limiting.ask("back")["status"] == "processing"


def test_what_was_sent_before_is_not_held_against_a_limit(
    limiting: World, connect: Callable[[], RedisClient]
) -> None:
    """EPAY may have it: only a payout never sent can be rejected for its amount."""
    gate = gate_of(limiting, connect(), epay_check_limits="on")
    [sent] = put_unknown(limiting, "order-1", amount=Decimal("9.00"))
    permitted(gate, sent)
    fresh = replace(sent, first_sent_at=None)
    assert isinstance(gate.check(fresh, max_wait=MAX_WAIT), Reject)


def test_a_limit_takes_a_turn_too(limiting: World, connect: Callable[[], RedisClient]) -> None:
    gate_of(limiting, connect(), epay_check_limits="on", epay_max_per_second=2)
    began = time.time()
    assert limiting.ask()["status"] == "processing"
    at = [moment for moment, _, _ in limiting.gateway.log.since(0)]
    assert len(at) == 2
    assert at[1] - began >= 0.45


def test_limits_need_no_redis(limiting: World, nowhere: RedisClient) -> None:
    gate_of(limiting, nowhere, epay_check_limits="on")
    for nth in range(5):
        assert limiting.ask(f"order-{nth}")["status"] == "processing"
    assert asked_limits(limiting) == 1


def test_a_silent_redis_is_found_out_once(nowhere: RedisClient) -> None:
    """The others are told at once."""
    tried = []

    def attempt() -> None:
        tried.append(nowhere.client.ping())

    for _ in range(3):
        with pytest.raises(RedisUnavailable):
            nowhere.run(attempt)
    assert tried == []
