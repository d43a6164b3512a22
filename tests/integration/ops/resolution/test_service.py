"""A person's act: by the workers' claim, and on EPAY's fresh answer."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ops.resolution.actions import Action, Decision, NotAllowed
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.gateway import OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import Status
from shared.storage import pauses
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.support.jobs import (
    NOTIFY,
    Clock,
    ask_epay,
    freeze_clock,
    kinds,
    of_ledger,
    outbox,
    put_control,
    put_queued,
    put_unknown,
    tick,
    until_epay_says,
)
from tests.support.resolution import PAID, REJECT, RESEND, meanwhile, refused, service_of, settled

if TYPE_CHECKING:
    from tests.integration.conftest import MakeWorld, World


def test_a_resend_is_sent_and_paid_once(world: World, clock: Clock) -> None:
    """Asked, queued, sent by a worker under the same number; on record with name and reason."""
    done = service_of(world).act(settled(world, clock), RESEND)
    assert isinstance(done.answer, Refused)
    assert (done.payout.status, done.payout.due_at) == (Status.QUEUED, clock.now)
    event = world.events()[-1]
    assert (event.kind, event.actor) == ("resend", "person:Ann")
    assert event.detail["reason"] == RESEND.reason
    assert event.detail["epay_code"] == "2001"
    tick(world)
    until_epay_says(world, "7")
    assert ask_epay(world).status is Status.SUCCEEDED
    assert (of_ledger(world)["creates_received"], of_ledger(world)["payments"]) == (1, 1)


def test_a_resend_is_refused_where_epay_shows_the_order(world: World, clock: Clock) -> None:
    """EPAY took it, only the answer was lost: what it says is recorded, nothing is sent again."""
    assert world.ask(remark="sandbox:accept_then_close")["status"] == "unknown"
    clock.forward(700)
    until_epay_says(world, "7")
    words = refused(service_of(world), world.row(), RESEND)
    assert "it is succeeded" in words
    assert kinds(world)[-1] == "query_report"
    assert world.row().status is Status.SUCCEEDED
    tick(world)
    assert (of_ledger(world)["creates_received"], of_ledger(world)["payments"]) == (1, 1)


def test_an_order_under_way_is_followed_and_not_sent_again(world: World, clock: Clock) -> None:
    """EPAY's report is news: it moves the payout before the act is looked at."""
    assert world.ask(remark="sandbox:accept_then_close sandbox:pending=600")["status"] == "unknown"
    clock.forward(700)
    until_epay_says(world, "19")
    words = refused(service_of(world), world.row(), REJECT)
    assert "EPAY has it" in words
    payout = world.row()
    assert payout.status is Status.PENDING_WITHDRAWAL
    assert payout.due_at is not None
    assert payout.due_at > clock.now


def test_an_end_that_epay_says_by_itself_needs_no_person(world: World, clock: Clock) -> None:
    world.ask(remark="sandbox:no_callback")
    until_epay_says(world, "7")
    clock.forward(700)
    done = service_of(world).act(world.row(), PAID)
    assert (done.by_epay, done.payout.status) == (True, Status.SUCCEEDED)
    assert world.events()[-1].actor == "query"


def test_an_end_is_accepted_against_a_mismatch(world: World, clock: Clock) -> None:
    """EPAY paid another amount: a person settles that with EPAY, and takes the end; it is told."""
    world.ask(notify=NOTIFY | {"on": ["final"]})
    until_epay_says(world, "7")
    order = world.gateway.book.find("order-1")
    assert order is not None
    order.amount = Decimal("9.99")
    clock.forward(700)
    assert ask_epay(world).status is Status.PROCESSING
    done = service_of(world).act(world.row(), PAID)
    assert (done.payout.status, done.payout.review_reason) == (Status.SUCCEEDED, None)
    assert isinstance(done.answer, Report)
    assert [told["status"] for told in outbox(world)] == ["succeeded"]


@pytest.mark.parametrize("act", [RESEND, REJECT], ids=lambda one: one.action)
def test_without_a_control_nothing_is_sent_or_rejected(
    world: World, clock: Clock, act: Decision
) -> None:
    """Law 12: EPAY has no such order, and shows no other either."""
    put_unknown(world, "order-1")
    clock.forward(700)
    before = world.row()
    assert "EPAY has not ended any payout yet" in refused(service_of(world), before, act)
    put_control(world)

    def with_a_wrong_key(_: str) -> OrderAnswer:
        return Refused("2001", "no such order")

    at = service_of(world, ask=with_a_wrong_key)
    assert "the refusal is about us" in refused(at, before, act)
    [pause] = pauses.active(world.engine)
    assert pause.code == pauses.REFUSED_BY_EPAY
    assert world.row() == before
    assert service_of(world).act(before, act).payout.status is not Status.UNKNOWN
    assert pauses.active(world.engine) == []


@pytest.mark.parametrize("act", [RESEND, REJECT, PAID], ids=lambda one: one.action)
def test_with_epay_away_nothing_changes(world: World, clock: Clock, act: Decision) -> None:
    """Not even when the payout is looked at next."""
    before = settled(world, clock)
    at = service_of(world, ask=lambda _: OutcomeUnknown("read timeout"))
    assert "EPAY could not be queried (read timeout)" in refused(at, before, act)
    assert world.row() == before


def test_within_the_settle_time_nothing_changes(world: World, clock: Clock) -> None:
    put_unknown(world, "order-1")
    before = world.row()
    assert "EPAY_SETTLE_SECONDS" in refused(service_of(world), before, RESEND)
    assert world.row() == before


def test_a_payout_of_another_account_is_never_asked_about(world: World, clock: Clock) -> None:
    """Under our own key EPAY would say that it has no such order, and it would be paid twice."""
    before = settled(world, clock)

    def never(_: str) -> OrderAnswer:
        raise AssertionError

    others = replace(world.context.policy, accounts=ConfiguredAccounts.one("other@example.com"))
    at = service_of(world, policy=others, ask=never)
    assert f"{before.epay_account} is not configured here" in refused(at, before, RESEND)
    with pytest.raises(NotAllowed, match="EPAY_ACCOUNT"):
        at.refresh(before)
    assert world.row() == before


def test_no_connection_is_held_while_epay_is_asked(
    world: World, clock: Clock, database_url: str
) -> None:
    """Law 9: with one connection in all, others get through meanwhile."""
    payout = settled(world, clock)
    engine = make_engine(database_url, pool_size=1)
    was, world.engine = world.engine, engine
    try:
        at = service_of(
            world, store=PayoutStore(engine), ask=meanwhile(world, lambda: world.sql("SELECT 1"))
        )
        assert at.act(payout, RESEND).payout.status is Status.QUEUED
    finally:
        world.engine = was
        engine.dispose()


def test_what_asks_nothing_of_epay(world: World, clock: Clock) -> None:
    """A note leaves the clock alone; a cap is released; what was looked into is settled."""
    before = settled(world, clock)
    at = service_of(world, ask=None)
    noted = at.act(before, Decision(Action.NOTE, "Ann", "asked EPAY"))
    assert (noted.payout.due_at, noted.payout.status) == (before.due_at, before.status)
    put_queued(world, "order-2")
    world.sql(
        "UPDATE payout SET review_reason = 'above_cap: words', review_since = now()"
        " WHERE merchant_order_no = 'order-2'"
    )
    released = at.act(world.row("order-2"), Decision(Action.RELEASE, "Ann", "it is right"))
    assert released.payout.released_at == clock.now
    world.sql(
        "UPDATE payout SET review_reason = 'mismatch: words', review_since = now()"
        " WHERE merchant_order_no = 'order-1'"
    )
    done = at.act(world.row(), Decision(Action.DISMISS, "Ann", "a typing error of theirs"))
    assert done.payout.review_reason is None


def test_a_second_desk_needs_the_code_that_was_read(make_world: MakeWorld) -> None:
    """With no code configured the words are a person's to read: unread, nothing is sent."""
    world = make_world(not_found_codes=frozenset())
    clock = freeze_clock(world)
    payout = settled(world, clock)
    assert "--code 2001" in refused(service_of(world), payout, RESEND)
    done = service_of(world).act(payout, replace(RESEND, code="2001"))
    assert done.payout.status is Status.QUEUED
