"""A person's act beside a worker, or beside another person: one of them acts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ops.resolution.actions import Action, Decision, NotAllowed
from ops.resolution.service import ActionResult, ConcurrentChange
from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState, Status
from tests.support.jobs import (
    Clock,
    HookedGateway,
    ask_epay,
    claim_id,
    deliver,
    kinds,
    of_ledger,
    put_control,
    put_queued,
    put_submitting,
    tick,
    until_epay_says,
)
from tests.support.resolution import PAID, REJECT, RESEND, meanwhile, refused, service_of, settled
from tests.support.send_guard import AllowAll
from worker.jobs.query import query
from worker.jobs.submit import submit
from worker.jobs.sweep import sweep
from worker.send_guard.permit import CheckResult

if TYPE_CHECKING:
    from tests.integration.conftest import World


def test_nobody_acts_while_a_worker_sends(world: World, clock: Clock) -> None:
    """Until its lease is over: then it is unknown, as the sweep would have it."""
    put_control(world)
    [payout] = put_submitting(world, "order-1")
    assert "a worker is sending it" in refused(service_of(world), payout, RESEND)
    assert world.row() == payout
    clock.forward(700)
    assert service_of(world).act(payout, RESEND).payout.status is Status.QUEUED
    assert kinds(world) == ["accepted", "lease_over", "resend"]


def test_what_changed_since_a_person_looked_is_not_decided(world: World, clock: Clock) -> None:
    """Another status, or another reason for review: the person had something else in mind."""
    seen = settled(world, clock)
    ours = "WHERE merchant_order_no = 'order-1'"
    world.sql(f"UPDATE payout SET review_reason = 'mismatch: words', review_since = now() {ours}")
    dismiss = Decision(Action.DISMISS, "Ann", "why")
    with pytest.raises(
        ConcurrentChange, match=r"it is unknown, in review for mismatch: words .* now"
    ):
        service_of(world).act(seen, dismiss)
    seen = world.row()
    world.sql(f"UPDATE payout SET review_reason = 'mismatch: EPAY reports amount 9999' {ours}")
    with pytest.raises(ConcurrentChange, match="EPAY reports amount 9999"):
        service_of(world).act(seen, dismiss)
    seen = world.row()
    world.sql(f"UPDATE payout SET review_since = review_since + interval '1 minute' {ours}")
    with pytest.raises(ConcurrentChange, match="when you saw it"):
        service_of(world).act(seen, dismiss)
    assert world.row().review_reason == "mismatch: EPAY reports amount 9999"
    assert service_of(world).act(world.row(), dismiss).payout.review_reason is None


def test_what_was_seen_while_a_worker_sent_is_compared_too(world: World, clock: Clock) -> None:
    """The answer came, and with it a review that nobody saw; that a lease expired is no news."""
    [seen] = put_submitting(world, "order-1")
    world.sql(
        "UPDATE payout SET status = 'processing', review_reason = 'mismatch: words',"
        " review_since = now()"
    )
    with pytest.raises(ConcurrentChange, match="and was submitting when you saw it"):
        service_of(world).act(seen, Decision(Action.DISMISS, "Ann", "why"))
    assert world.row().review_reason == "mismatch: words"
    world.sql("UPDATE payout SET status = 'submitting', review_reason = NULL, review_since = NULL")


def test_a_note_may_be_made_while_a_worker_sends(world: World, clock: Clock) -> None:
    """It moves nothing, and the sender's answer is recorded all the same."""

    def note(_: str) -> None:
        at.act(world.row(), Decision(Action.NOTE, "Ann", "watching this one"))

    at = service_of(world)
    world.context = replace(world.context, gateway=HookedGateway(world.context.gateway, note))
    assert world.ask()["status"] == "processing"
    assert kinds(world) == ["accepted", "note", "create_report"]


def test_a_person_who_dies_holds_nothing_up(world: World, clock: Clock) -> None:
    """The claim is a lease like the sweep's: when it is over, the payout is followed again."""
    payout = settled(world, clock)

    def dies(_: str) -> OrderAnswer:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        service_of(world, ask=dies).act(payout, RESEND)
    assert world.row().due_at == clock.now + world.context.policy.lease
    assert tick(world)["query"] == 0
    clock.forward(world.context.policy.lease.total_seconds())
    assert tick(world)["query"] == 1


def test_a_worker_acts_while_a_person_asks(world: World, clock: Clock) -> None:
    """A query's answer comes in between: nothing is done for the person."""
    payout = settled(world, clock)
    at = service_of(world, ask=meanwhile(world, lambda: query(world.context, [payout.id], None)))
    with pytest.raises(ConcurrentChange, match="Check it and try again"):
        at.act(payout, RESEND)
    assert world.row().status is Status.UNKNOWN
    assert kinds(world)[-1] == "no_such_order"


def test_the_sweep_leaves_to_a_person_what_a_person_has(world: World, clock: Clock) -> None:
    """What is due is claimed by the person first: the sweep finds nothing to hand out."""
    payout = settled(world, clock)
    swept: list[dict[str, int]] = []
    at = service_of(world, ask=meanwhile(world, lambda: swept.append(sweep(world.context))))
    assert at.act(payout, RESEND).payout.status is Status.QUEUED
    assert swept == [{"lapsed": 0, "submit": 0, "query": 0}] * 2  # the payout, and the control


def test_a_worker_sends_what_a_person_is_about_to_reject(world: World, clock: Clock) -> None:
    """It comes first, so the person is told so, and it is not rejected."""
    [payout] = put_queued(world, "order-1")
    at = service_of(
        world, ask=meanwhile(world, lambda: submit(world.context, payout.id, None, claim_id()))
    )
    with pytest.raises((ConcurrentChange, NotAllowed)):
        at.act(payout, REJECT)
    until_epay_says(world, "7")
    assert ask_epay(world).status is Status.SUCCEEDED
    assert of_ledger(world)["payments"] == 1


@dataclass
class Gap(AllowAll):
    """What happens between a worker's check of a payout and its claim."""

    happens: Callable[[], object]

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        self.happens()
        return self


def test_a_person_rejects_what_a_worker_is_about_to_send(world: World, clock: Clock) -> None:
    """The person comes first: nothing leaves for EPAY."""
    [payout] = put_queued(world, "order-1")
    at = service_of(world)
    world.context = replace(world.context, send_guard=Gap(lambda: at.act(payout, REJECT)))
    assert submit(world.context, payout.id, None, claim_id()) == "rejected"
    assert of_ledger(world)["creates_received"] == 0


def test_a_person_resends_what_a_worker_is_asking_about(world: World, clock: Clock) -> None:
    """The worker's answer comes after the act, and says nothing of what is sent later."""
    payout = settled(world, clock)
    at, sent = service_of(world), []

    def act(_: str) -> None:
        if not sent:
            sent.append(at.act(payout, RESEND))
            clock.forward(1)

    gateway = world.context.gateway

    def asking(orders: dict[int, str], _max_wait: timedelta) -> Iterator[Any]:
        yield [(nth, HookedGateway(gateway, act).query(number)) for nth, number in orders.items()]

    sweep(world.context)
    world.context = replace(world.context, query_many=asking)
    deliver(world)
    assert world.row().status is Status.QUEUED
    tick(world)
    assert of_ledger(world)["creates_received"] == 1


def test_at_one_moment_either_a_worker_or_a_person(world: World) -> None:
    """Eight payouts, a worker and a person at each at once: sent and followed, or rejected."""
    orders = [f"order-{nth}" for nth in range(8)]
    payouts = put_queued(world, *orders)
    together = threading.Barrier(2)
    at = service_of(world)

    def person(payout: PayoutState) -> bool:
        together.wait(timeout=60)
        try:
            return isinstance(at.act(payout, REJECT), ActionResult)
        except NotAllowed:
            return False

    def worker(payout: PayoutState) -> None:
        together.wait(timeout=60)
        submit(world.context, payout.id, None, claim_id())

    rejected = {}
    with ThreadPoolExecutor(2) as pool:
        for payout in payouts:
            decided = pool.submit(person, payout)
            pool.submit(worker, payout).result(timeout=60)
            rejected[payout.merchant_order_no] = decided.result(timeout=60)
    for order_no, was_rejected in rejected.items():
        received = of_ledger(world, order_no)["creates_received"]
        status = world.row(order_no).status
        if was_rejected:
            assert (status, received) == (Status.REJECTED, 0)
        else:
            assert status is not Status.REJECTED
            assert received <= 1


def test_of_two_people_one_acts(world: World, clock: Clock) -> None:
    """While Ann's question is under way Bob rejects: Ann is told, and nothing is sent."""
    payout = settled(world, clock)
    bob = Decision(Action.REJECT, "Bob", "no longer wanted")
    at = service_of(world, ask=meanwhile(world, lambda: service_of(world).act(payout, bob)))
    with pytest.raises(ConcurrentChange):
        at.act(payout, RESEND)
    assert world.row().status is Status.REJECTED
    assert kinds(world).count("resend") == 0


def test_a_report_does_not_hide_that_somebody_was_quicker(world: World, clock: Clock) -> None:
    """EPAY's report is recorded, but nothing is decided on a payout that Bob has just acted on."""
    world.ask()
    order = world.gateway.book.find("order-1")
    assert order is not None
    order.amount = Decimal("9.99")
    until_epay_says(world, "7")
    clock.forward(700)
    payout = ask_epay(world)
    bob = Decision(Action.DISMISS, "Bob", "I take care of it")
    at = service_of(world, ask=meanwhile(world, lambda: service_of(world).act(payout, bob)))
    with pytest.raises(ConcurrentChange):
        at.act(payout, PAID)
    assert world.row().status is Status.PROCESSING
    assert kinds(world)[-2:] == ["settle", "query_report"]
