"""Pauses: on record in PostgreSQL, obeyed by the task bodies, harmless to what is followed."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from shared.clock import utcnow
from shared.domain.circuit_breaker import BreakerRules, MemoryBreakerStore
from shared.domain.payout import PayoutState, Status
from shared.storage import pauses
from shared.storage.engine import make_engine
from shared.storage.pauses import AlreadyPaused, NotPaused, Pause, RefusalPause, Scope
from tests.support.jobs import (
    callback_message,
    kinds,
    new,
    of_ledger,
    put_queued,
    put_unknown,
    tick,
)
from tests.support.send_guard import AllowAll
from worker.jobs.callback import callback
from worker.jobs.query import query
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.guard import SendGuard
from worker.send_guard.pauses import PauseCache, PausesUnreadable
from worker.send_guard.permit import CheckResult, Defer, Permit

if TYPE_CHECKING:
    from tests.integration.conftest import World

ALL = Scope()
USD = Scope(currency="USD")


def gate_of(engine: Engine, clock: Any = None) -> SendGuard:
    given = {"clock": clock} if clock else {}
    view = PauseCache(lambda: pauses.active(engine), **given)
    return SendGuard(view, CircuitBreaker(MemoryBreakerStore(lambda: 0.0), BreakerRules()))


@pytest.fixture
def now() -> list[float]:
    """The monotonic clock of the worker's view."""
    return [0.0]


@pytest.fixture
def gated(world: World, now: list[float]) -> World:
    world.context = replace(world.context, send_guard=gate_of(world.engine, lambda: now[0]))
    return world


def paused(engine: Engine, scope: Scope = ALL) -> None:
    pauses.pause(engine, scope, "Ann", "audit", utcnow())


def resumed(engine: Engine, scope: Scope = ALL) -> None:
    pauses.resume(engine, scope, "Bob", "done", utcnow())


def test_who_why_and_when_stay_on_record(engine: Engine) -> None:
    """Lifting a pause adds to its entry and deletes nothing."""
    began = utcnow()
    paused(engine)
    [standing] = pauses.active(engine)
    assert (standing.scope, standing.set_by, standing.reason) == (ALL, "Ann", "audit")
    assert began <= standing.set_at <= utcnow()
    resumed(engine)
    assert pauses.active(engine) == []
    paused(engine, USD)
    newest, oldest = pauses.history(engine)
    assert newest.scope == USD
    assert newest.lifted_at is None
    assert (oldest.lifted_by, oldest.lifted_reason) == ("Bob", "done")
    assert oldest.lifted_at is not None
    assert (oldest.set_by, oldest.reason) == ("Ann", "audit")


def test_pausing_twice_makes_no_second_row(engine: Engine) -> None:
    """Not at once, and not by eight people at the same moment; another scope is another pause."""

    def attempt(_: int) -> bool:
        try:
            paused(engine, USD)
        except AlreadyPaused as error:
            return error.standing.set_by != "Ann"
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert len(pauses.history(engine)) == 1
    paused(engine, Scope(currency="USD", channel_code="11"))
    assert len(pauses.active(engine)) == 2


def test_only_just_that_pause_is_lifted(engine: Engine) -> None:
    with pytest.raises(NotPaused, match="no pause of all payouts is in force"):
        resumed(engine)
    paused(engine, USD)
    with pytest.raises(NotPaused) as caught:
        resumed(engine)
    assert [one.scope for one in caught.value.standing] == [USD]
    resumed(engine, USD)
    with pytest.raises(NotPaused):
        resumed(engine, USD)


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        (ALL, True),
        (USD, True),
        (Scope(channel_code="11"), True),
        (Scope(epay_account="test2020@epay.com", channel_code="11", currency="USD"), True),
        (Scope(currency="EUR"), False),
        (Scope(channel_code="12"), False),
        (Scope(epay_account="other@epay.com"), False),
        (Scope(channel_code="11", currency="EUR"), False),
    ],
)
def test_a_pause_holds_what_agrees_in_all_that_it_names(
    gated: World, scope: Scope, held: bool
) -> None:
    """A held payout is accepted and waits, queued; the others are sent."""
    paused(gated.engine, scope)
    assert gated.ask()["status"] == ("queued" if held else "processing")
    assert of_ledger(gated)["creates_received"] == (0 if held else 1)
    assert kinds(gated)[:1] == ["accepted"]
    assert pauses.count_waiting(gated.engine, scope) == held


def test_a_worker_knows_of_a_pause_within_a_second(gated: World, now: list[float]) -> None:
    """What it goes by is never older."""
    assert gated.ask("before")["status"] == "processing"
    paused(gated.engine)
    now[0] += 0.74
    assert gated.ask("unaware")["status"] == "processing"
    now[0] += 0.26
    assert gated.ask("after")["status"] == "queued"


def test_it_is_read_four_times_in_three_seconds_at_most(gated: World, now: list[float]) -> None:
    """However much is sent; and never while nothing is."""
    reads: list[float] = []

    def read() -> list[Pause]:
        reads.append(now[0])
        return []

    view, payout = PauseCache(read, lambda: now[0]), new(gated, "order-1")
    for _ in range(3000):
        assert view.find(payout) is None
        now[0] += 0.001
    now[0] += 60
    assert len(reads) == 4


def test_a_slow_read_holds_up_nobody_while_what_is_known_is_fresh(gated: World) -> None:
    """One reads ahead; once a second is over the others wait for it."""
    at, begun, go_on = [0.0], threading.Event(), threading.Event()

    def read() -> list[Pause]:
        if at[0]:
            begun.set()
            assert go_on.wait(60)
        return []

    view, payout = PauseCache(read, lambda: at[0]), new(gated, "order-1")
    view.find(payout)
    at[0] = 0.8
    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(view.find, payout)
        assert begun.wait(60)
        view.find(payout)
        at[0] = 1.0
        waiting = pool.submit(view.find, payout)
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        go_on.set()
        assert reading.result(60) is waiting.result(60) is None


def test_a_pause_between_claim_and_send_still_holds(gated: World, now: list[float]) -> None:
    """The permit is confirmed right before the request: it goes back to the queue unsent."""
    [payout] = put_queued(gated, "order-1")
    gate = gated.context.send_guard
    permit = gate.check(payout, max_wait=timedelta(seconds=5))
    assert isinstance(permit, Permit)
    paused(gated.engine)
    now[0] += 1
    assert permit.confirm() == "paused: all payouts"
    gated.context = replace(gated.context, send_guard=OnlyConfirm(gate))
    tick(gated)
    row = gated.row()
    assert row.status is Status.QUEUED
    assert row.first_sent_at is None
    assert kinds(gated) == ["accepted", "submitting", "never_sent"]
    assert of_ledger(gated)["creates_received"] == 0


class OnlyConfirm(AllowAll):
    """A send guard whose check passes, before permits that are confirmed as usual."""

    def __init__(self, gate: SendGuard) -> None:
        self.recover_permit = gate.recover_permit

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        return self.recover_permit(payout)


def test_what_was_sent_is_followed_on(gated: World) -> None:
    """A query and a callback find their ends under a pause of everything."""
    put_unknown(gated, "asked", "called")
    paused(gated.engine)
    assert callback(gated.context, callback_message("called")) == "succeeded"
    query(gated.context, [gated.row("asked").id], None)
    assert "no_such_order" in kinds(gated, "asked")


def test_what_cannot_be_read_holds_everything(gated: World, now: list[float]) -> None:
    """PostgreSQL silent on pauses: nothing new is sent, whatever was known before."""
    nowhere = make_engine("postgresql://payouts@127.0.0.1:1/payouts", pool_size=1)
    view = PauseCache(lambda: pauses.active(nowhere), lambda: now[0])
    gate = SendGuard(view, CircuitBreaker(MemoryBreakerStore(lambda: 0.0), BreakerRules()))
    payout = new(gated, "order-1")
    with pytest.raises(PausesUnreadable):
        view.find(payout)
    assert isinstance(gate.check(payout, max_wait=timedelta(seconds=5)), Defer)
    assert gate.recover_permit(payout).confirm() == "the pauses could not be read"
    gated.context = replace(gated.context, send_guard=gate)
    assert gated.ask()["status"] == "queued"
    assert of_ledger(gated)["creates_received"] == 0
    nowhere.dispose()


def one_reads_and_one_waits(
    pool: ThreadPoolExecutor, view: PauseCache, payout: PayoutState, begun: threading.Event
) -> tuple[Future[Pause | None], Future[Pause | None]]:
    """Two who come at the same moment, while what is read does not end."""
    reading = pool.submit(view.find, payout)
    assert begun.wait(60)
    waiting = pool.submit(view.find, payout)
    with pytest.raises(TimeoutError):
        waiting.result(0.1)
    return reading, waiting


def test_what_can_be_read_again_is_known_at_once(gated: World) -> None:
    """PostgreSQL is back: the next who comes is not told that it is away, for 5 to 10 s."""
    away, reads, begun, go_on = [True], [0], threading.Event(), threading.Event()

    def read() -> list[Pause]:
        reads[0] += 1
        begun.set()
        assert go_on.wait(60)
        if away[0]:
            raise OperationalError("away", None, ConnectionError())
        return []

    view, payout = PauseCache(read, lambda: 0.0), new(gated, "order-1")
    with ThreadPoolExecutor(2) as pool:
        reading, waiting = one_reads_and_one_waits(pool, view, payout, begun)
        go_on.set()
        for one in (reading, waiting):
            with pytest.raises(PausesUnreadable):
                one.result(60)
    assert reads == [1], "who waited for the one that read does not read once more"
    away[0] = False
    assert view.find(payout) is None
    assert reads == [2]


def test_who_waited_for_a_slow_read_does_not_go_by_what_is_old(gated: World) -> None:
    """What another read began to find more than a second ago is read anew."""
    now, reads, begun, go_on = [0.0], [0], threading.Event(), threading.Event()

    def read() -> list[Pause]:
        reads[0] += 1
        begun.set()
        assert go_on.wait(60)
        return []

    view, payout = PauseCache(read, lambda: now[0]), new(gated, "order-1")
    with ThreadPoolExecutor(2) as pool:
        reading, waiting = one_reads_and_one_waits(pool, view, payout, begun)
        now[0] = 5.0
        go_on.set()
        assert reading.result(60) is waiting.result(60) is None
    assert reads == [2]


def test_what_waited_goes_on_when_it_is_woken(gated: World, now: list[float]) -> None:
    """Not after the five minutes that it would wait by itself; once each."""
    paused(gated.engine, USD)
    orders = [f"order-{nth}" for nth in range(5)]
    for no in orders:
        gated.ask(no)
    gated.ask("other", currency="EUR")
    due = [gated.row(no).due_at for no in orders]
    assert all(at is not None and at - utcnow() > timedelta(minutes=4) for at in due)
    resumed(gated.engine, USD)
    now[0] += 1
    moment = utcnow() - timedelta(seconds=1)
    assert pauses.wake_waiting(gated.engine, USD, moment) == 5
    tick(gated)
    assert [of_ledger(gated, no)["creates_received"] for no in orders] == [1] * 5


def test_waking_leaves_alone_what_waits_for_a_person(gated: World) -> None:
    """A payout in review, one that is followed, and one of another scope keep their times."""
    later = utcnow() + timedelta(hours=1)
    put_queued(gated, "review", review_reason="above_cap: x", review_since=utcnow(), due_at=later)
    put_queued(gated, "euro", currency="EUR")
    put_unknown(gated, "unknown")
    before = [gated.row(no).due_at for no in ("review", "euro", "unknown")]
    assert pauses.wake_waiting(gated.engine, USD, utcnow()) == 0
    assert [gated.row(no).due_at for no in ("review", "euro", "unknown")] == before


def test_a_payout_that_is_woken_in_a_workers_hands_is_sent_once(gated: World) -> None:
    """Whoever had it loses it, as its due_at is another; the next sweep sends it."""
    [payout] = put_queued(gated, "order-1")
    gate = Waking(gated.engine)
    gated.context = replace(gated.context, send_guard=gate)
    tick(gated)
    assert gate.woken == 1
    assert gated.row().due_at != payout.due_at
    assert kinds(gated) == ["accepted"]
    tick(gated)
    assert of_ledger(gated)["creates_received"] == 1


class Waking(AllowAll):
    """Somebody wakes the payout just after the worker checked it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.woken = 0

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        if not self.woken:
            self.woken = pauses.wake_waiting(self.engine, ALL, utcnow() - timedelta(seconds=1))
        return self


def test_an_account_has_one_pause_however_it_is_spelled(world: World) -> None:
    """Law 10: its spelling was mended while it was paused; the pause holds, and ends."""
    old, new_one = Scope("Shop@EPAY.com"), Scope("shop@epay.com")
    put_queued(world, "o-1", epay_account="SHOP@epay.com")
    paused(world.engine, old)
    with pytest.raises(AlreadyPaused):
        paused(world.engine, new_one)
    assert [pauses.count_waiting(world.engine, scope) for scope in (old, new_one)] == [1, 1]
    assert pauses.wake_waiting(world.engine, new_one, utcnow() - timedelta(days=999)) == 1
    resumed(world.engine, new_one)
    assert pauses.active(world.engine) == []


def test_the_pause_of_a_refusal_ends_however_the_account_is_spelled(world: World) -> None:
    """Law 12: else nothing is sent any more."""
    now = utcnow()
    before, after = (
        RefusalPause(world.engine, name) for name in ("Shop@epay.com", "shop@EPAY.com")
    )
    assert not after.claim_probe(now), "nothing is paused"
    assert before.begin("refused", now)
    assert not after.begin("refused", now)
    assert after.claim_probe(now)
    assert not before.claim_probe(now), "one probe for both spellings"
    assert after.end(now)
    assert pauses.active(world.engine) == []
