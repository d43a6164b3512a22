"""EPAY refuses us (law 12): nothing is sent again, nothing rejected, and new sends pause."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from sandbox.server import Gateway
from sandbox.settings import Duplicates, SandboxConfig
from shared.domain.absence_proof import Control
from shared.domain.accounts import ConfiguredAccount
from shared.domain.circuit_breaker import BreakerRules
from shared.domain.payout import Status
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.storage import pauses
from shared.storage.pauses import REFUSED_BY_EPAY, Scope
from tests.support.jobs import (
    ACCOUNT,
    Clock,
    ask_epay,
    deliver,
    freeze_clock,
    kinds,
    of_ledger,
    put_control,
    put_unknown,
    tick,
    until_epay_says,
)
from worker.context import QueryPool
from worker.jobs.query import check_control
from worker.jobs.sweep import sweep
from worker.send_guard.breaker_store import MemoryBreakerStore
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.guard import SendGuard
from worker.send_guard.pauses import PauseCache

if TYPE_CHECKING:
    from tests.integration.conftest import World

SECONDS_WRONG = 20 * 60


@pytest.fixture(params=[2001, 2002], ids=["one code", "a code of its own"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """It pays duplicates, and may answer a wrong signature with the code of an unknown order."""
    config = SandboxConfig(
        duplicates=Duplicates.PAY, pay_after=0.05, bad_signature_code=request.param
    )
    with Gateway(config) as gateway:
        yield gateway


@pytest.fixture
def clock(world: World) -> Clock:
    return freeze_clock(world)


class _Keys:
    """Signs the world's requests with the right key, or with a wrong one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._closing: list[Any] = []

    def use(self, key: str) -> None:
        client = EpayClient(
            EpayConfig(
                base_url=self._world.gateway.base_url, account=ACCOUNT, api_key=SecretStr(key)
            )
        )
        pool = QueryPool(client, 4)
        self._closing += [pool, client]
        context = replace(self._world.context, gateway=client, query_many=pool)
        self._world.context = context

    def close(self) -> None:
        for one in self._closing:
            one.close()


@pytest.fixture
def keys(world: World) -> Iterator[_Keys]:
    """The world reads real pauses, without a cache."""
    breaker = CircuitBreaker(MemoryBreakerStore(time.time), BreakerRules())
    cache = PauseCache(lambda: pauses.active(world.engine), iter(range(0, 10**9, 10)).__next__)
    world.context = replace(world.context, send_guard=SendGuard(cache, breaker))
    keys = _Keys(world)
    yield keys
    keys.close()


def live(world: World, clock: Clock, seconds: float, step: float = 5) -> None:
    """Sweep every few seconds, as beat does."""
    for _ in range(int(seconds / step)):
        clock.forward(step)
        tick(world)


def test_a_wrong_key_for_twenty_minutes(world: World, clock: Clock, keys: _Keys) -> None:
    """Paid twice 0, rejected 0: of what EPAY took before, of what it refused meanwhile."""
    put_control(world)
    world.ask("taken", remark="sandbox:accept_then_close")
    world.ask("lost", remark="sandbox:drop_before_accepting")
    until_epay_says(world, "7", "taken")
    keys.use("a wrong key")
    world.ask("refused")
    live(world, clock, 10)
    world.ask("waits")
    live(world, clock, SECONDS_WRONG)
    orders = ("taken", "lost", "refused", "waits")
    assert {world.row(no).status for no in orders} == {Status.UNKNOWN, Status.QUEUED}
    assert world.row("waits").attempts == 0
    keys.use("TESTKEY123")
    for _ in range(120):
        live(world, clock, 60, 20)
        if all(world.row(no).status is Status.PROCESSING for no in orders[1:]):
            break
    for no in orders:
        until_epay_says(world, "7", no)
    live(world, clock, 7200, 60)
    assert {no: world.row(no).status for no in orders} == dict.fromkeys(orders, Status.SUCCEEDED)
    assert {no: of_ledger(world, no)["payments"] for no in orders} == dict.fromkeys(orders, 1)
    assert pauses.active(world.engine) == []


@pytest.mark.parametrize("pauses_first", [True, False])
def test_the_change_of_key(world: World, clock: Clock, keys: _Keys, pauses_first: bool) -> None:
    """As docs/operations.md has it, and with its first step forgotten: nothing is rejected."""
    put_control(world)
    world.ask("taken", remark="sandbox:accept_then_close")
    world.ask("lost", remark="sandbox:drop_before_accepting")
    until_epay_says(world, "7", "taken")
    if pauses_first:
        pauses.pause(world.engine, Scope(), "Ann", "change of key", clock.now)
    keys.use("the new key")
    world.ask("meanwhile")
    live(world, clock, 120)
    world.gateway.config.__dict__["api_key"] = "the new key"  # changed at EPAY
    live(world, clock, 60)
    if pauses_first:
        pauses.resume(world.engine, Scope(), "Ann", "changed", clock.now)
        pauses.wake_waiting(world.engine, Scope(), clock.now)
    orders = ("taken", "lost", "meanwhile")
    live(world, clock, 2000, 20)
    for no in orders:
        until_epay_says(world, "7", no)
    live(world, clock, 7200, 60)
    assert {no: world.row(no).status for no in orders} == dict.fromkeys(orders, Status.SUCCEEDED)
    assert {no: of_ledger(world, no)["payments"] for no in orders} == dict.fromkeys(orders, 1)
    assert pauses.active(world.engine) == []


def test_sending_pauses_and_goes_on_by_itself(world: World, clock: Clock, keys: _Keys) -> None:
    """Paused with EPAY's words when the control is refused; lifted when it is shown again."""
    put_control(world)
    put_unknown(world, "order-1")
    keys.use("a wrong key")
    ask_epay(world)
    [standing] = pauses.active(world.engine)
    assert (standing.scope, standing.code) == (Scope(ACCOUNT), REFUSED_BY_EPAY)
    assert "control-0, an order that it must know" in standing.reason
    assert (
        check_control(world.context, ConfiguredAccount(ACCOUNT), clock.now, ()) is Control.REFUSED
    )
    assert len(pauses.active(world.engine)) == 1
    keys.use("TESTKEY123")
    sweep(world.context)
    assert [kwargs["payout_ids"] for _, kwargs in world.published] == [[]]
    sweep(world.context)
    assert len(world.published) == 1  # one probe in half a minute
    deliver(world)
    assert pauses.active(world.engine) == []
    clock.forward(60)
    assert not world.context.refusal_pause.claim_probe(clock.now)


def test_a_person_s_pause_and_the_automatic_one_stand_side_by_side(
    world: World, clock: Clock, keys: _Keys
) -> None:
    """What EPAY shows lifts the automatic pause alone."""
    put_control(world)
    pauses.pause(world.engine, Scope(ACCOUNT), "Ann", "year's end", clock.now)
    keys.use("a wrong key")
    check_control(world.context, ConfiguredAccount(ACCOUNT), clock.now, ())
    assert len(pauses.active(world.engine)) == 2
    keys.use("TESTKEY123")
    assert check_control(world.context, ConfiguredAccount(ACCOUNT), clock.now, ()) is Control.PASSED
    assert [one.set_by for one in pauses.active(world.engine)] == ["Ann"]


def test_the_control_costs_a_query_only_when_epay_refused_one(world: World, clock: Clock) -> None:
    """Two refused payouts of one batch share it; answers about orders that it shows need none."""
    put_control(world)
    world.ask("order-0")
    ask_epay(world, "order-0")
    assert of_ledger(world, "control-0")["queries"] == 0
    put_unknown(world, "order-1", "order-2")
    clock.forward(30)
    tick(world)
    assert of_ledger(world, "control-0")["queries"] == 1


def test_what_serves_as_control(world: World, clock: Clock) -> None:
    """EPAY ended it, it was sent long enough ago, nobody doubts it, the wave did not refuse it."""
    first, second = put_control(world, "control-1"), put_control(world, "control-2")
    store = world.context.store
    assert store.newest_ended(ConfiguredAccount(ACCOUNT), clock.now) == second
    assert store.newest_ended(ConfiguredAccount(ACCOUNT), clock.now, [second.id]) == first
    assert store.newest_ended(ConfiguredAccount("other@epay.com"), clock.now) is None
    assert second.last_sent_at is not None
    assert store.newest_ended(ConfiguredAccount(ACCOUNT), second.last_sent_at) == second
    world.sql("UPDATE payout SET last_sent_at = :at WHERE id = :id", at=clock.now, id=second.id)
    assert store.newest_ended(ConfiguredAccount(ACCOUNT), second.last_sent_at) == first
    world.sql(
        "UPDATE payout SET review_reason = 'contradiction: x', review_since = now() WHERE id = :id",
        id=first.id,
    )
    assert store.newest_ended(ConfiguredAccount(ACCOUNT), second.last_sent_at) is None


def test_what_a_person_ended_is_no_control(world: World, clock: Clock) -> None:
    """EPAY's last word was `in progress`: it may show another order, or none, for ever."""
    control = put_control(world)
    world.sql("UPDATE payout SET epay_status = '1' WHERE id = :id", id=control.id)
    assert world.context.store.newest_ended(ConfiguredAccount(ACCOUNT), clock.now) is None


def test_a_control_that_epay_names_another_number_for_goes_to_review(
    world: World, clock: Clock
) -> None:
    """Law 13; then the one before serves. A second order is no refusal of us: no pause."""
    first, second = put_control(world, "control-1"), put_control(world, "control-2")
    world.sql("UPDATE payout SET epay_order_no = 'E-first' WHERE id = :id", id=second.id)
    account = ConfiguredAccount(ACCOUNT)
    assert check_control(world.context, account, clock.now, ()) is Control.UNANSWERED
    assert pauses.active(world.engine) == []
    assert world.row("control-2").review_reason.startswith("second_order: ")
    assert world.row("control-2").status is Status.SUCCEEDED
    assert check_control(world.context, account, clock.now, ()) is Control.PASSED
    assert pauses.active(world.engine) == []
    assert world.row("control-1").id == first.id
    assert world.row("control-1").review_reason is None


def test_what_cannot_be_asked_about_is_flagged_long_before_the_horizon(
    world: World, clock: Clock
) -> None:
    """The rate limit leaves no slot, or Redis is away."""
    (payout,) = put_unknown(world, "order-1")
    pool = QueryPool(world.context.gateway, 1, acquire=lambda: False)
    world.context = replace(world.context, query_many=pool)
    live(world, clock, 500, step=60)
    assert world.row("order-1").review_reason is None
    live(world, clock, 240, step=60)
    pool.close()
    row = world.row("order-1")
    assert row.status is Status.UNKNOWN
    assert row.review_reason.startswith("unanswered: EPAY was not asked")
    assert row.queries == payout.queries
    assert len([kind for kind in kinds(world, "order-1") if kind == "unanswered"]) == 1
