"""A person's act: by the workers' claim, on EPAY's fresh answer, and never beside a worker."""

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
from ops.resolution.service import ActionResult, ConcurrentChange, ResolutionService
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.gateway import OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import PayoutState, Status
from shared.storage import journal_audit, pauses
from shared.storage.encryption import NO_ENCRYPTION
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from shared.storage.queries import events_of
from tests.support.jobs import (
    NOTIFY,
    Clock,
    HookedGateway,
    ask_epay,
    claim_id,
    deliver,
    freeze_clock,
    kinds,
    of_ledger,
    outbox,
    put_control,
    put_queued,
    put_submitting,
    put_unknown,
    tick,
    until_epay_says,
)
from tests.support.send_guard import AllowAll
from worker.jobs.query import query
from worker.jobs.submit import submit
from worker.jobs.sweep import sweep
from worker.send_guard.permit import CheckResult

if TYPE_CHECKING:
    from tests.integration.conftest import MakeWorld, World

RESEND = Decision(Action.RESEND, "Ann", "EPAY has no such order, ticket 7")
REJECT = Decision(Action.REJECT, "Ann", "no longer wanted")
PAID = Decision(Action.ACCEPT_AS, "Ann", "EPAY says paid, ticket 8", end=Status.SUCCEEDED)


@pytest.fixture
def clock(world: World) -> Clock:
    return freeze_clock(world)


@pytest.fixture(autouse=True)
def _every_chain_holds(world: World) -> Iterator[None]:
    """Whatever was done, the journals are whole."""
    yield
    assert not [found for found in journal_audit.audit_chains(world.engine, NO_ENCRYPTION) if found]


def service_of(world: World, **changes: Any) -> ResolutionService:
    """A harness on the parts of the workers."""
    ctx = world.context
    made = ResolutionService(
        store=ctx.store,
        ask=ctx.gateway.query,
        journal=lambda payout_id: events_of(world.engine, payout_id),
        policy=ctx.policy,
        refusal_pause=ctx.refusal_pause,
        clock=ctx.clock,
        jitter=ctx.jitter,
    )
    return replace(made, **changes)


def meanwhile(world: World, happens: Callable[[], object]) -> Callable[[str], OrderAnswer]:
    """A way to ask EPAY, with something that happens just before the question leaves."""
    return HookedGateway(world.context.gateway, lambda _: happens()).query


def settled(world: World, clock: Clock) -> PayoutState:
    """A payout of which EPAY knows nothing, the settle time over; it shows another one."""
    put_control(world)
    put_unknown(world, "order-1")
    clock.forward(world.context.policy.visibility_delay.total_seconds() + 60)
    return world.row()


def refused(at: ResolutionService, payout: PayoutState, decision: Decision) -> str:
    with pytest.raises(NotAllowed) as error:
        at.act(payout, decision)
    return str(error.value)


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


def test_nobody_acts_while_a_worker_sends(world: World, clock: Clock) -> None:
    """Until its lease is over: then it is unknown, as the sweep would have it."""
    put_control(world)
    [payout] = put_submitting(world, "order-1")
    assert "a worker is sending it" in refused(service_of(world), payout, RESEND)
    assert world.row() == payout
    clock.forward(700)
    assert service_of(world).act(payout, RESEND).payout.status is Status.QUEUED
    assert kinds(world) == ["accepted", "lease_over", "resend"]


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


# a worker and a person at once


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


# a second person


def test_a_second_person_approves(world: World, clock: Clock) -> None:
    """Proposed and on record; the same person is refused; another one's yes asks EPAY again."""
    before = settled(world, clock)
    at = service_of(world, needs_approval=True)
    done = at.act(before, RESEND)
    assert (done.proposed, done.payout.status) == (True, Status.UNKNOWN)
    assert done.payout.due_at == before.due_at
    with pytest.raises(NotAllowed, match="another person must approve"):
        at.approve(world.row(), "ann", "yes")
    assert world.row() == done.payout
    queries = world.gateway.ledger()["totals"]["queries"]
    assert at.approve(world.row(), "Bob", "checked").payout.status is Status.QUEUED
    assert world.gateway.ledger()["totals"]["queries"] == queries + 2  # and the control
    event = world.events()[-1]
    assert (event.kind, event.actor, event.detail["proposed_by"]) == ("resend", "person:Bob", "Ann")
    with pytest.raises(NotAllowed, match="nothing is proposed"):
        at.approve(world.row(), "Bob", "again")


def test_what_is_no_longer_allowed_is_not_approved(world: World, clock: Clock) -> None:
    """EPAY shows the order by now: the proposal is over, and the payout followed."""
    put_control(world)
    assert world.ask(remark="sandbox:accept_then_close sandbox:hidden=600")["status"] == "unknown"
    clock.forward(700)
    at = service_of(world, needs_approval=True)
    assert at.act(world.row(), RESEND).proposed
    order = world.gateway.book.find("order-1")
    assert order is not None
    order.visible_at = 0.0
    until_epay_says(world, "7")
    with pytest.raises(NotAllowed, match="it is succeeded"):
        at.approve(world.row(), "Bob", "yes")
    assert world.row().status is Status.SUCCEEDED
    assert of_ledger(world)["payments"] == 1


def test_what_is_refused_is_not_even_proposed(world: World, clock: Clock) -> None:
    put_unknown(world, "order-1")
    at = service_of(world, needs_approval=True)
    assert "EPAY_SETTLE_SECONDS" in refused(at, world.row(), RESEND)
    assert kinds(world)[-1] == "outcome_unknown"


def test_only_the_proposal_that_was_shown_is_approved(world: World, clock: Clock) -> None:
    """Between look and yes it became another one."""
    at = service_of(world, needs_approval=True)
    at.act(settled(world, clock), RESEND)
    at.act(world.row(), REJECT)
    with pytest.raises(ConcurrentChange, match="another action was proposed"):
        at.approve(world.row(), "Bob", "yes", seen=RESEND)
    assert at.approve(world.row(), "Bob", "yes", seen=REJECT).payout.status is Status.REJECTED


def test_a_sure_act_needs_one_person(world: World, clock: Clock) -> None:
    """The setting is for what nobody knows: what was never sent is rejected by one."""
    put_queued(world, "order-1")
    at = service_of(world, needs_approval=True)
    assert at.act(world.row(), REJECT).payout.status is Status.REJECTED


# asking EPAY now


def test_a_refresh_records_what_epay_says(world: World, clock: Clock) -> None:
    """As the sweep's query would: a report moves it, an absence counts."""
    world.ask(remark="sandbox:no_callback")
    until_epay_says(world, "7")
    payout, answer = service_of(world).refresh(world.row())
    assert (payout.status, payout.fee) == (Status.SUCCEEDED, Decimal("0.1"))
    assert isinstance(answer, Report)
    put_unknown(world, "order-2")
    payout, answer = service_of(world).refresh(world.row("order-2"))
    assert len(payout.absences) == 0 or payout.status is Status.UNKNOWN
    assert isinstance(answer, Refused)
    assert kinds(world, "order-2")[-1] == "no_such_order"


def test_a_look_records_a_report_alone(world: World, clock: Clock) -> None:
    """A person who only looks does not add to the proof of absence."""
    before = settled(world, clock)
    payout, answer = service_of(world).look(before)
    assert payout == before == world.row()
    assert isinstance(answer, Refused)


def test_a_second_desk_needs_the_code_that_was_read(make_world: MakeWorld) -> None:
    """With no code configured the words are a person's to read: unread, nothing is sent."""
    world = make_world(not_found_codes=frozenset())
    clock = freeze_clock(world)
    payout = settled(world, clock)
    assert "--code 2001" in refused(service_of(world), payout, RESEND)
    done = service_of(world).act(payout, replace(RESEND, code="2001"))
    assert done.payout.status is Status.QUEUED
