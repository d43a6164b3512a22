"""The tasks before a gate that is not open: nothing leaves, nothing is lost, everything is due."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ops.resolution import actions
from ops.resolution.actions import Action, Decision
from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState, Status, Transition
from tests.support.jobs import (
    Clock,
    claim_id,
    controlled,
    deliver,
    kinds,
    of_ledger,
    put_queued,
    tick,
)
from worker.jobs.submit import submit
from worker.send_guard.interface import ALLOW, Defer, Reject, Verdict

if TYPE_CHECKING:
    from tests.integration.conftest import MakeWorld, World


@dataclass
class Barred:
    """A gate that answers as it is told."""

    verdict: Verdict
    brake: str | None = None
    heard: list[OrderAnswer] = field(default_factory=list)

    def look(self, payout: PayoutState, *, patience: timedelta) -> Verdict:
        return self.verdict

    def in_the_way(self, payout: PayoutState) -> str | None:
        return self.brake

    def note(self, answer: OrderAnswer) -> None:
        self.heard.append(answer)


def behind(world: World, gate: Barred) -> Barred:
    world.context = replace(world.context, send_guard=gate)
    return gate


def wait(clock: Clock, seconds: float = 30) -> Defer:
    return Defer(clock.now + timedelta(seconds=seconds), "paused")


def sent_once(world: World, order_no: str = "order-1") -> bool:
    return of_ledger(world, order_no)["creates_received"] == 1


def test_a_request_before_a_shut_gate_is_accepted_and_waits(world: World) -> None:
    clock = controlled(world)
    gate = behind(world, Barred(wait(clock)))
    assert world.ask()["status"] == "queued"
    assert world.row().due_at == clock.now + timedelta(seconds=30)
    assert kinds(world) == ["accepted"]
    assert of_ledger(world)["creates_received"] == 0
    assert gate.heard == []
    gate.verdict = ALLOW
    clock.forward(31)
    tick(world)
    assert sent_once(world)
    assert len(gate.heard) == 1


def test_what_the_sweep_found_waits_too(world: World) -> None:
    clock = controlled(world)
    gate = behind(world, Barred(wait(clock)))
    put_queued(world, "order-1")
    tick(world)
    assert world.row().due_at == clock.now + timedelta(seconds=30)
    assert tick(world) == {"lapsed": 0, "submit": 0, "query": 0}
    gate.verdict = ALLOW
    clock.forward(31)
    tick(world)
    assert sent_once(world)


def test_a_brake_between_claim_and_send_stops_the_send(world: World) -> None:
    """The last look: the claim is on disk, nothing leaves, the payout is queued again."""
    clock = controlled(world)
    gate = behind(world, Barred(ALLOW, brake="paused"))
    assert world.ask()["status"] == "queued"
    assert of_ledger(world)["creates_received"] == 0
    assert (world.row().first_sent_at, world.row().review_reason) == (None, None)
    gate.brake = None
    clock.forward(3600)
    tick(world)
    assert sent_once(world)


def test_outside_of_the_limit_is_rejected_unsent_and_told(world: World) -> None:
    controlled(world)
    behind(world, Barred(Reject("EPAY's limit is 100 to 500 USD")))
    notify = {"task": "shop.told", "queue": "shop", "on": ["accepted", "final"]}
    assert world.ask(notify=notify)["status"] == "rejected"
    assert kinds(world) == ["accepted", "outside_limit"]
    assert world.row().refusal == "EPAY's limit is 100 to 500 USD"
    told = [row.kwargs["status"] for row in world.sql("SELECT kwargs FROM payout_outbox")]
    assert sorted(told) == ["queued", "rejected"]
    assert of_ledger(world)["creates_received"] == 0


def test_who_was_put_off_by_one_task_is_not_put_off_by_an_older_one(world: World) -> None:
    """A hint that looked at the payout before somebody else took it leaves it alone."""
    clock = controlled(world)
    [payout] = put_queued(world, "order-1")

    class Overtaken(Barred):
        def look(self, payout: PayoutState, *, patience: timedelta) -> Verdict:
            def move(fresh: PayoutState) -> Transition:
                assert fresh.due_at is not None
                return Transition(fresh, replace(fresh, due_at=fresh.due_at + timedelta(hours=1)))

            world.context.store.update(payout.id, move)
            return self.verdict

    for hours, verdict in enumerate((ALLOW, wait(clock), Reject("limit")), start=1):
        behind(world, Overtaken(verdict))
        submit(world.context, payout.id, None, claim_id())
        assert world.row().due_at == clock.now + timedelta(hours=hours)
        assert world.row().status is Status.QUEUED
    assert of_ledger(world)["creates_received"] == 0


def release(world: World, now: datetime) -> None:
    decision = Decision(Action.RELEASE, "ann", "the contract says so")
    world.context.store.update(
        world.row().id,
        lambda payout: actions.decide(payout, decision, None, now=now, policy=world.context.policy),
    )


def test_above_the_cap_until_a_person_releases_it(make_world: MakeWorld) -> None:
    world = make_world(cap_per_payout={"USD": Decimal(10)})
    clock = controlled(world)
    assert world.ask()["status"] == "queued"
    assert (world.row().review_reason or "").startswith("above_cap: ")
    for _ in range(3):
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
    clock = controlled(world)
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


def test_a_message_of_the_sweep_finds_the_gate_open_again(world: World) -> None:
    """Put off, due again, dispatched again: the old message does nothing."""
    clock = controlled(world)
    gate = behind(world, Barred(wait(clock, 1)))
    put_queued(world, "order-1")
    tick(world)
    clock.forward(2)
    world.published.clear()
    gate.verdict = ALLOW
    old = world.row().due_at
    tick(world)
    assert old != world.row().due_at
    assert submit(world.context, world.row().id, old, claim_id()) == "processing"
    deliver(world)
    assert sent_once(world)
