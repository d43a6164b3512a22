"""Tasks whose payouts the send guard holds back: nothing is sent or lost, everything is due."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError

from ops.resolution import actions
from ops.resolution.actions import Action, Decision
from shared.domain.gateway import NeverSent, OrderAnswer
from shared.domain.payout import PayoutState, Status, Transition
from shared.storage.payout_store import Decide, PayoutStore
from tests.integration.conftest import request_kwargs
from tests.support.jobs import (
    Clock,
    claim_id,
    deliver,
    freeze_clock,
    kinds,
    of_ledger,
    put_queued,
    tick,
)
from worker.jobs.request import request
from worker.jobs.submit import submit
from worker.send_guard.permit import CheckResult, Defer, Permit, Reject

if TYPE_CHECKING:
    from tests.integration.conftest import MakeWorld, World


@dataclass
class StubGuard:
    """A send guard, and its permit, with given results; without one it permits."""

    result: Defer | Reject | None = None
    refusal: str | None = None
    recorded: list[OrderAnswer] = field(default_factory=list)
    released: int = 0
    recovered: int = 0
    probe: str | None = None

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        return self.result or self

    def recover_permit(self, payout: PayoutState) -> Permit:
        self.recovered += 1
        return self

    def confirm(self) -> str | None:
        return self.refusal

    def record(self, answer: OrderAnswer) -> None:
        self.recorded.append(answer)

    def release(self) -> None:
        self.released += 1


def use_guard(world: World, guard: StubGuard) -> StubGuard:
    world.context = replace(world.context, send_guard=guard)
    return guard


def wait(clock: Clock, seconds: float = 30) -> Defer:
    return Defer(clock.now + timedelta(seconds=seconds), "paused")


def sent_once(world: World, order_no: str = "order-1") -> bool:
    return of_ledger(world, order_no)["creates_received"] == 1


def test_a_deferred_request_is_accepted_and_waits(world: World) -> None:
    clock = freeze_clock(world)
    guard = use_guard(world, StubGuard(wait(clock)))
    assert world.ask()["status"] == "queued"
    assert world.row().due_at == clock.now + timedelta(seconds=30)
    assert kinds(world) == ["accepted"]
    assert of_ledger(world)["creates_received"] == 0
    assert guard.recorded == []
    guard.result = None
    clock.forward(31)
    tick(world)
    assert sent_once(world)
    assert len(guard.recorded) == 1


def test_a_deferred_payout_of_the_sweep_waits(world: World) -> None:
    clock = freeze_clock(world)
    guard = use_guard(world, StubGuard(wait(clock)))
    put_queued(world, "order-1")
    tick(world)
    assert world.row().due_at == clock.now + timedelta(seconds=30)
    assert tick(world) == {"lapsed": 0, "submit": 0, "query": 0}
    guard.result = None
    clock.forward(31)
    tick(world)
    assert sent_once(world)


def test_a_permit_refused_after_the_claim_stops_the_send(world: World) -> None:
    """The claim is committed, nothing is sent, the payout is queued again."""
    clock = freeze_clock(world)
    guard = use_guard(world, StubGuard(refusal="paused"))
    assert world.ask()["status"] == "queued"
    assert of_ledger(world)["creates_received"] == 0
    assert (world.row().first_sent_at, world.row().review_reason) == (None, None)
    guard.refusal = None
    clock.forward(3600)
    tick(world)
    assert sent_once(world)


def test_an_amount_outside_the_limit_is_rejected_unsent_and_reported(world: World) -> None:
    freeze_clock(world)
    use_guard(world, StubGuard(Reject("EPAY's limit is 100 to 500 USD")))
    notify = {"task": "shop.told", "queue": "shop", "on": ["accepted", "final"]}
    assert world.ask(notify=notify)["status"] == "rejected"
    assert kinds(world) == ["accepted", "outside_limit"]
    assert world.row().refusal == "EPAY's limit is 100 to 500 USD"
    told = [row.kwargs["status"] for row in world.sql("SELECT kwargs FROM payout_outbox")]
    assert sorted(told) == ["queued", "rejected"]
    assert of_ledger(world)["creates_received"] == 0


def test_a_payout_moved_after_the_check_is_left_alone(world: World) -> None:
    """A task that checked the payout before another task moved it changes nothing."""
    clock = freeze_clock(world)
    [payout] = put_queued(world, "order-1")

    class Overtaken(StubGuard):
        def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
            def move(fresh: PayoutState) -> Transition:
                assert fresh.due_at is not None
                return Transition(fresh, replace(fresh, due_at=fresh.due_at + timedelta(hours=1)))

            world.context.store.update(payout.id, move)
            return super().check(payout, max_wait=max_wait)

    for hours, result in enumerate((None, wait(clock), Reject("limit")), start=1):
        guard = use_guard(world, Overtaken(result))
        submit(world.context, payout.id, None, claim_id())
        assert world.row().due_at == clock.now + timedelta(hours=hours)
        assert world.row().status is Status.QUEUED
        assert guard.released == (result is None), "a permit that is not used is given back"
    assert of_ledger(world)["creates_received"] == 0


class ReplyLost(PayoutStore):
    """A store whose first write is committed before its connection is lost."""

    lost = False

    def insert(self, steps: Sequence[Transition]) -> list[PayoutState | None]:
        return self._lose(super().insert(steps))

    def update(self, payout_id: int, decide: Decide) -> PayoutState | None:
        return self._lose(super().update(payout_id, decide))

    def _lose(self, written: Any) -> Any:
        if not self.lost:
            self.lost = True
            raise OperationalError("COMMIT", {}, ConnectionError("server closed the connection"))
        return written


def test_a_claim_of_uncertain_end_releases_its_permit_and_recovers_another(world: World) -> None:
    """What the first run claimed is sent by the second, unless it is held back by then."""
    payouts = put_queued(world, "held", "free")
    for payout, refusal, status in zip(
        payouts, ("paused", None), ("queued", "processing"), strict=True
    ):
        guard = use_guard(world, StubGuard(refusal=refusal))
        world.context = replace(world.context, store=ReplyLost(world.engine))
        claim = claim_id()
        with pytest.raises(OperationalError):
            submit(world.context, payout.id, None, claim)
        assert (guard.released, guard.recovered) == (1, 0)
        assert submit(world.context, payout.id, None, claim) == status
        assert (guard.released, guard.recovered) == (1, 1)
    assert of_ledger(world, "held")["creates_received"] == 0
    assert sent_once(world, "free")


def test_a_request_deferred_only_after_its_claim_recovers_its_permit(world: World) -> None:
    """The second run's check no longer counts: the payout is claimed. Its confirmation does."""
    clock = freeze_clock(world)
    for order_no, refusal, status in (("held", "paused", "queued"), ("free", None, "processing")):
        guard = use_guard(world, StubGuard(refusal=refusal))
        world.context = replace(world.context, store=ReplyLost(world.engine))
        claim = claim_id()
        with pytest.raises(OperationalError):
            request(world.context, request_kwargs(order_no), claim)
        guard.result = wait(clock)
        answer = request(world.context, request_kwargs(order_no), claim)
        assert (answer["status"], guard.recovered) == (status, 1)
    assert of_ledger(world, "held")["creates_received"] == 0
    assert sent_once(world, "free")


@pytest.mark.parametrize("probe", [None, "token"])
def test_the_probe_opens_a_connection(world: World, probe: str | None) -> None:
    """A connection that died while EPAY was away must not make the probe fail."""
    taken: list[Any] = []

    class Gateway:
        def create(self, _order: object, *, new_connection: bool, **_: object) -> NeverSent:
            taken.append(new_connection)
            return NeverSent("connection refused")

    world.context = replace(world.context, gateway=Gateway())
    use_guard(world, StubGuard(probe=probe))
    world.ask()
    assert taken == [probe is not None]


def release(world: World, now: datetime) -> None:
    decision = Decision(Action.RELEASE, "ann", "the contract says so")
    world.context.store.update(
        world.row().id,
        lambda payout: actions.decide(payout, decision, None, now=now, policy=world.context.policy),
    )


def test_above_the_cap_until_a_person_releases_it(make_world: MakeWorld) -> None:
    world = make_world(cap_per_payout={"USD": Decimal(10)})
    clock = freeze_clock(world)
    assert world.ask()["status"] == "queued"
    assert (world.row().review_reason or "").startswith("above_cap: ")
    for _ in range(2):  # within EPAY_REVIEW_AFTER
        clock.forward(86_400)
        tick(world)
    assert kinds(world) == ["accepted", "held"]
    assert of_ledger(world)["creates_received"] == 0
    release(world, clock.now)
    tick(world)
    assert sent_once(world)
    assert world.row().review_reason is None
    assert "release" in kinds(world)


def test_the_cap_of_a_day_rolls(make_world: MakeWorld) -> None:
    """10.50 fits twice into 21.00; the third waits, although the first is a day old soon."""
    world = make_world(cap_per_day={"USD": Decimal(21)})
    clock = freeze_clock(world)
    assert [world.ask(f"order-{nth}")["status"] for nth in (1, 2)] == ["processing"] * 2
    assert world.ask("order-3")["status"] == "queued"
    assert (world.row("order-3").review_reason or "").startswith("above_day_cap: 21.00 of 21 USD")
    clock.forward(86_401)
    assert world.ask("order-4")["status"] == "processing"


@pytest.mark.parametrize("run", range(3))
def test_two_payouts_cannot_both_fill_the_last_gap(make_world: MakeWorld, run: int) -> None:
    """Eight at once, each of which fits alone: one is sent."""
    world = make_world(cap_per_day={"USD": Decimal(20)})
    orders = [f"order-{run}-{nth}" for nth in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(world.ask, orders))
    assert sorted(answer["status"] for answer in answers) == ["processing"] + ["queued"] * 7
    assert world.gateway.ledger()["totals"]["creates_received"] == 1


def test_an_old_message_of_the_sweep_does_nothing(world: World) -> None:
    """Deferred, due again, dispatched again: the old message does nothing."""
    clock = freeze_clock(world)
    guard = use_guard(world, StubGuard(wait(clock, 1)))
    put_queued(world, "order-1")
    tick(world)
    clock.forward(2)
    world.published.clear()
    guard.result = None
    old = world.row().due_at
    tick(world)
    assert old != world.row().due_at
    assert submit(world.context, world.row().id, old, claim_id()) == "processing"
    deliver(world)
    assert sent_once(world)
