"""`payouts.query`: EPAY is asked, and its answers are worth what laws 3, 4 and 6 say."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from sandbox.faults import Fault
from sandbox.server import Gateway
from sandbox.settings import Duplicates, SandboxConfig
from shared.domain.gateway import OutcomeUnknown, Report
from shared.domain.payout import Status
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.support.jobs import (
    ACCOUNT,
    NOTIFY,
    HookedGateway,
    ask_epay,
    freeze_clock,
    kinds,
    of_ledger,
    outbox,
    put_control,
    put_queued,
    put_submitting,
    put_unknown,
    tick,
    until_due,
    until_epay_says,
)
from worker.context import QueryPool
from worker.jobs.query import query
from worker.jobs.sweep import sweep

if TYPE_CHECKING:
    from tests.integration.conftest import MakeWorld, World

NO_ANSWER = "accept_then_close sandbox:hidden=600"
"""Accepted, the answer lost, and not to be found for as long as the test lasts."""


def reveal(world: World) -> None:
    """Let EPAY find the order from now on."""
    order = world.gateway.book.find("order-1")
    assert order is not None
    order.visible_at = 0.0


def lost(world: World, marker: str = "drop_before_accepting") -> None:
    """A create of which nothing came back; EPAY shows another order."""
    put_control(world)
    assert world.ask(remark=f"sandbox:{marker}")["status"] == "unknown"


def follow(world: World, clock: Any, looks: int) -> list[str]:
    """Look so many times, each when it is due; the statuses that came of it."""
    return [until_due(world, clock).status.value for _ in range(looks)]


ENDS = {
    Fault.FAIL: "failed",
    Fault.CANCELLED: "cancelled",
    Fault.CLOSED: "closed",
    Fault.FEE_KEPT: "failed_fee_kept",
    Fault.NO_CALLBACK: "succeeded",
}


@pytest.mark.parametrize(("fault", "end"), ENDS.items())
def test_without_any_callback_queries_find_the_end(world: World, fault: Fault, end: str) -> None:
    """The end is recorded with its fee, told once, and nothing is due any more."""
    clock = freeze_clock(world)
    world.ask(remark=f"sandbox:{fault}", notify=NOTIFY | {"on": ["final"]})
    order = world.gateway.book.find("order-1")
    assert order is not None
    epay_status = {"failed": "6", "cancelled": "5", "closed": "8", "failed_fee_kept": "20"}
    until_epay_says(world, epay_status.get(end, "7"))
    payout = until_due(world, clock)
    assert (payout.status, payout.due_at, payout.finished_at) == (end, None, clock.now)
    assert (payout.fee, payout.epay_order_no) == (Decimal("0.1"), order.epay_order_no)
    assert [told["status"] for told in outbox(world)] == [end]
    clock.forward(90_000)
    assert tick(world) == {"lapsed": 0, "submit": 0, "query": 0}


@pytest.mark.parametrize(
    ("fault", "epay_status", "status", "reason"),
    [
        (Fault.PENDING, "19", "pending_withdrawal", None),
        (Fault.EXCEPTION, "11", "processing", "abnormal: EPAY status 11: order is abnormal"),
    ],
)
def test_a_detour_is_followed_to_its_end(
    world: World, fault: Fault, epay_status: str, status: str, reason: str | None
) -> None:
    """19 and 11 are no ends; what heals by itself clears its own flag."""
    clock = freeze_clock(world)
    world.ask(remark=f"sandbox:{fault}=60")
    until_epay_says(world, epay_status)
    payout = until_due(world, clock)
    assert (payout.status, payout.review_reason) == (status, reason)
    world.gateway.report("order-1", "7", callback=False)
    payout = until_due(world, clock)
    assert (payout.status, payout.review_reason) == ("succeeded", None)


def test_a_status_that_nobody_documented_is_followed(world: World) -> None:
    """A code of EPAY's that we do not know is no end, and a person is asked to look."""
    clock = freeze_clock(world)
    world.ask()
    until_epay_says(world, "7")
    world.gateway.report("order-1", "77", callback=False)
    payout = until_due(world, clock)
    assert (payout.status, payout.epay_status) == ("processing", "77")
    assert payout.review_reason == "undocumented_status: EPAY status 77 is not documented"
    assert payout.due_at is not None


def test_a_message_that_outlived_its_lease_asks_nothing(world: World) -> None:
    """The sweep has claimed the payouts anew since; and what is not followed is not asked about."""
    clock = freeze_clock(world)
    [payout] = put_unknown(world, "order-1")
    clock.forward(30)
    sweep(world.context)
    stale = world.row().due_at
    clock.forward(60)
    sweep(world.context)
    assert query(world.context, [payout.id], stale) == 0
    [submitting] = put_submitting(world, "order-2")
    [queued] = put_queued(world, "order-3")
    assert query(world.context, [submitting.id, queued.id, 4711], None) == 0
    assert world.gateway.ledger()["totals"]["queries"] == 0
    assert query(world.context, [payout.id], world.row().due_at) == 1


def test_a_batch_is_asked_side_by_side_and_recorded_in_few_commits(world: World) -> None:
    """Eight requests are under way at once, and sixteen answers are no sixteen commits."""
    orders = [f"order-{nth}" for nth in range(16)]
    ids = [payout.id for payout in put_unknown(world, *orders)]
    together = threading.Barrier(8)
    meeting = HookedGateway(world.context.gateway, lambda _: together.wait(timeout=60))
    asking = QueryPool(meeting, 8)
    commits: list[object] = []
    event.listen(world.engine, "commit", commits.append)
    assert query(replace(world.context, query_many=asking), ids, None) == 16
    asking.close()
    assert len(commits) <= 4
    assert {kinds(world, no)[-1] for no in orders} == {"no_such_order"}


def test_no_connection_is_held_while_queries_are_under_way(world: World, database_url: str) -> None:
    """Law 9: with one connection in all, others get through while EPAY takes its time."""
    ids = [payout.id for payout in put_unknown(world, "order-1", "order-2")]
    engine = make_engine(database_url, pool_size=1)
    world.engine = engine
    slow = HookedGateway(world.context.gateway, lambda _: world.sql("SELECT 1"))
    asking = QueryPool(slow, 2)
    try:
        ctx = replace(world.context, store=PayoutStore(engine), query_many=asking)
        assert query(ctx, ids, None) == 2
    finally:
        asking.close()
        engine.dispose()


def test_what_takes_too_long_is_left_to_the_next_sweep(world: World) -> None:
    """One answer is late: the others are recorded, the late one keeps its claim."""
    quick, late = put_unknown(world, "order-1", "order-2")

    def only_quick(orders: Any, _max_wait: timedelta) -> Any:
        yield [(quick.id, world.context.gateway.query(orders[quick.id]))]

    ctx = replace(world.context, query_many=only_quick)
    assert query(ctx, [quick.id, late.id], None) == 1
    assert kinds(world, "order-1")[-1] == "no_such_order"
    assert world.row("order-2") == late


@pytest.mark.parametrize("mode", ["refuse", "503", "drop"])
def test_a_query_that_fails_changes_no_status(world: World, mode: str) -> None:
    """Law 3: EPAY is away: nothing is learned, nothing counted, the next look is set."""
    clock = freeze_clock(world)
    put_unknown(world, "order-1")
    world.gateway.set_faults(down_seconds=30, mode=mode)
    clock.forward(30)
    before = world.row()
    tick(world)
    after = world.row()
    due_at = clock.now + timedelta(seconds=60)
    assert after == replace(before, due_at=due_at, queries=before.queries + 1)
    world.gateway.clear_faults()


def test_three_absences_over_the_settle_time_send_it_again(world: World) -> None:
    """Law 3: dropped before EPAY took it: asked until it is proven, sent once more, paid once."""
    clock = freeze_clock(world)
    sent_at = clock.now
    lost(world)
    number = world.row().merchant_order_no
    statuses = follow(world, clock, 5)
    assert statuses == ["unknown"] * 4 + ["queued"]
    assert clock.now - sent_at == timedelta(seconds=30 + 300 + 300)
    assert kinds(world)[2:] == ["no_such_order"] * 5
    assert of_ledger(world)["creates_received"] == 1
    tick(world)
    payout = world.row()
    assert (payout.status, payout.attempts, payout.first_sent_at) == ("processing", 2, sent_at)
    until_epay_says(world, "7")
    assert until_due(world, clock).status is Status.SUCCEEDED
    assert world.row().merchant_order_no == number
    assert (of_ledger(world)["creates_received"], of_ledger(world)["payments"]) == (2, 1)


def test_absences_before_the_settle_time_prove_nothing(world: World) -> None:
    """Law 3: however often EPAY is asked early, it is not sent again."""
    clock = freeze_clock(world)
    lost(world)
    for _ in range(20):
        clock.forward(29)
        assert ask_epay(world).status is Status.UNKNOWN
    assert of_ledger(world)["creates_received"] == 1


def test_two_absences_after_a_long_time_prove_nothing(world: World) -> None:
    """Law 3: hours without a look do not stand for the three answers."""
    clock = freeze_clock(world)
    lost(world)
    clock.forward(7200)
    assert ask_epay(world).status is Status.UNKNOWN
    clock.forward(7200)
    assert ask_epay(world).status is Status.UNKNOWN
    clock.forward(301)
    assert ask_epay(world).status is Status.QUEUED


def test_an_order_that_becomes_visible_late_is_found(world: World) -> None:
    """Law 3: two absences, then it is there: never sent again, paid once."""
    clock = freeze_clock(world)
    lost(world, NO_ANSWER)
    assert follow(world, clock, 4) == ["unknown"] * 4
    assert len(world.row().absences) == 2
    reveal(world)
    until_epay_says(world, "7")
    assert until_due(world, clock).status is Status.SUCCEEDED
    assert (of_ledger(world)["creates_received"], of_ledger(world)["payments"]) == (1, 1)


def test_without_a_configured_code_nothing_is_ever_sent_again(make_world: MakeWorld) -> None:
    """Law 3: then "no such order" proves nothing; a person is asked after the settle time."""
    world = make_world(not_found_codes=frozenset())
    clock = freeze_clock(world)
    lost(world)
    follow(world, clock, 4)
    assert world.row().review_reason is None
    follow(world, clock, 20)
    payout = world.row()
    assert payout.status is Status.UNKNOWN
    assert payout.review_reason is not None
    assert payout.review_reason.startswith(("query_refused: EPAY code 2001", "overdue"))
    assert of_ledger(world)["creates_received"] == 1


def test_beyond_the_horizon_it_is_not_sent_again(make_world: MakeWorld) -> None:
    """Law 3: the proof came a day after the first send: that is for a person."""
    world = make_world(resend_horizon=timedelta(seconds=1000))
    clock = freeze_clock(world)
    lost(world)
    assert follow(world, clock, 2) == ["unknown"] * 2
    clock.forward(1000)
    assert follow(world, clock, 2) == ["unknown"] * 2
    payout = world.row()
    assert payout.review_reason == "resend_horizon: EPAY code 2001: order does not exist"
    assert payout.due_at is not None
    assert of_ledger(world)["creates_received"] == 1


def test_an_absence_that_was_asked_before_the_last_send_does_not_count(world: World) -> None:
    """Law 3: an answer says nothing of what was sent after its question."""
    clock = freeze_clock(world)
    lost(world)
    payout = world.row()

    def slow(orders: Any, _max_wait: timedelta) -> Any:
        world.sql("UPDATE payout SET last_sent_at = :at", at=clock.now + timedelta(seconds=1))
        yield [(payout.id, world.context.gateway.query(orders[payout.id]))]

    query(replace(world.context, query_many=slow), [payout.id], None)
    assert kinds(world)[-1] == "no_such_order"
    assert world.row().absences == ()


def test_a_definite_refusal_ends_it(world: World) -> None:
    """Law 4: a configured code on a payout never sent before: rejected, with EPAY's words."""
    assert world.ask(remark="sandbox:refuse", notify=NOTIFY)["status"] == "rejected"
    payout = world.row()
    assert (payout.refusal, payout.due_at) == ("EPAY code 2005: refused", None)
    assert [told["status"] for told in outbox(world)] == ["submitting", "rejected"]
    assert world.events()[-1].detail == {"code": "2005", "message": "refused"}


def test_any_other_refusal_is_asked_about(world: World) -> None:
    """Law 4: an unknown code is no proof; absent for long enough, it is rejected, not re-sent."""
    clock = freeze_clock(world)
    put_control(world)
    assert world.ask(remark="sandbox:refuse=3999")["status"] == "unknown"
    clock.forward(1)
    assert follow(world, clock, 6) == ["unknown"] * 5 + ["rejected"]
    assert world.row().refusal == "EPAY code 3999: refused"
    assert of_ledger(world)["creates_received"] == 1


def test_a_refusal_cannot_be_settled_without_a_code(make_world: MakeWorld) -> None:
    """Law 4: with no "no such order" code a refused create is shown to a person at once."""
    world = make_world(not_found_codes=frozenset(), refused_codes=frozenset())
    clock = freeze_clock(world)
    assert world.ask(remark="sandbox:refuse")["status"] == "unknown"
    assert world.row().review_reason == "create_refused: EPAY code 2005: refused"
    assert set(follow(world, clock, 10)) == {"unknown"}


def test_a_definite_refusal_of_a_second_send_is_no_proof(world: World) -> None:
    """Law 4: the first send may be there after all, so even a configured code is asked about."""
    clock = freeze_clock(world)
    lost(world)
    follow(world, clock, 5)
    world.sql("UPDATE payout SET remark = 'sandbox:refuse'")
    tick(world)
    assert (world.row().status, world.row().attempts) == (Status.UNKNOWN, 2)
    assert of_ledger(world)["creates_received"] == 2


def test_a_duplicate_that_is_refused_is_found_by_asking(make_world: MakeWorld) -> None:
    """Law 4: visible late, sent again, refused as a duplicate: asking finds the first."""
    world = make_world()
    with Gateway(SandboxConfig(duplicates=Duplicates.REFUSE, pay_after=0.05)) as strict:
        elsewhere = replace_gateway(world, strict)
        clock = freeze_clock(world)
        lost(world, NO_ANSWER)
        assert follow(world, clock, 5)[-1] == "queued"
        tick(world)
        payout = world.row()
        assert (payout.status, payout.refusal) == (
            "unknown",
            "EPAY code 2004: merchantOrderNo exists",
        )
        reveal(world)
        until_epay_says(world, "7")
        assert until_due(world, clock).status is Status.SUCCEEDED
        assert (of_ledger(world)["creates_received"], of_ledger(world)["payments"]) == (2, 1)
        for close in elsewhere:
            close()


def replace_gateway(world: World, gateway: Gateway) -> list[Any]:
    """Point a world at another gateway; what is to be closed afterwards."""
    client = EpayClient(
        EpayConfig(base_url=gateway.base_url, account=ACCOUNT, api_key=SecretStr("TESTKEY123"))
    )
    asking = QueryPool(client, 2)
    world.gateway = gateway
    world.context = replace(world.context, gateway=client, query_many=asking)
    return [asking.close, client.close]


def test_an_order_that_vanishes_is_for_a_person(world: World) -> None:
    """EPAY had it and says that it does not: followed further, flagged, never sent again."""
    clock = freeze_clock(world)
    put_control(world)
    world.ask(remark="sandbox:pending=600")
    until_epay_says(world, "19")
    until_due(world, clock)
    order = world.gateway.book.find("order-1")
    assert order is not None
    order.visible_at = float("inf")
    assert follow(world, clock, 8) == ["pending_withdrawal"] * 8
    reason = world.row().review_reason
    assert reason == "vanished: EPAY code 2001: order does not exist"
    reveal(world)
    assert until_due(world, clock).review_reason is None
    assert of_ledger(world)["creates_received"] == 1


def answer(**changes: Any) -> Report:
    fields: dict[str, Any] = {
        "source": "query",
        "epay_account": ACCOUNT,
        "merchant_order_no": "order-1",
        "epay_order_no": "E1",
        "status": "7",
        "amount": Decimal("10.50"),
        "currency": "USD",
    }
    return Report(**(fields | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": Decimal("11.50")},
        {"amount": None},
        {"currency": "EUR"},
        {"epay_account": "other@epay.com"},
        {"merchant_order_no": "order-2"},
        {"status": None},
    ],
)
def test_an_answer_about_something_else_moves_nothing(
    world: World, changes: dict[str, Any]
) -> None:
    """Law 6: it is on record, a person is asked to look, and the payout goes on being followed."""
    clock = freeze_clock(world)
    [payout] = put_unknown(world, "order-1")
    told = answer(**changes)
    ask_many = lambda _orders, _max_wait: iter([[(payout.id, told)]])  # noqa: E731
    query(replace(world.context, query_many=ask_many), [payout.id], None)
    after = world.row()
    assert after.status is Status.UNKNOWN
    assert after.review_reason is not None
    assert after.review_reason.startswith("mismatch: query says")
    assert after.due_at is not None
    assert after.due_at > clock.now
    assert world.events()[-1].detail["disagrees"]


def test_an_answer_with_other_decimals_agrees(world: World) -> None:
    """Law 6: decimals are compared as decimals."""
    freeze_clock(world)
    [payout] = put_unknown(world, "order-1")
    told = answer(amount=Decimal("10.5000"))
    ask_many = lambda _orders, _max_wait: iter([[(payout.id, told)]])  # noqa: E731
    query(replace(world.context, query_many=ask_many), [payout.id], None)
    assert world.row().status is Status.SUCCEEDED


def test_after_three_days_it_is_looked_at_daily_and_by_a_person(world: World) -> None:
    """Backoff: the pauses grow to six hours; after EPAY_REVIEW_AFTER daily, under review."""
    clock = freeze_clock(world)
    put_unknown(world, "order-1")
    silent = lambda orders, _max_wait: iter(  # noqa: E731
        [[(one, OutcomeUnknown("read timeout")) for one in orders]]
    )
    world.context = replace(world.context, query_many=silent)
    clock.forward(259_200)
    tick(world)
    payout = world.row()
    assert payout.due_at == clock.now + timedelta(days=1)
    assert payout.review_reason is not None
    assert payout.review_reason.startswith("overdue")
