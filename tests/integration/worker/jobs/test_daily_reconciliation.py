"""`payouts.books`: a day's payouts against the stand-in gateway's word, whatever crashes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from ops.resolution.actions import Action, Decision, decide
from sandbox.orders import Order
from shared.config.settings import Settings
from shared.domain.accounts import ConfiguredAccount
from shared.domain.daily_reconciliation import Verdict, day_bounds
from shared.domain.gateway import CreateOrder, OrderAnswer, Refused, Report
from shared.domain.lifecycle import on_create_answer
from shared.domain.payout import Status
from shared.storage import journal_audit, pauses
from shared.storage.daily_reconciliation import ORDERS, SAMPLED, ReconciliationStore
from shared.storage.encryption import NO_ENCRYPTION
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.integration.conftest import API_KEY
from tests.support.jobs import (
    ACCOUNT,
    Clock,
    ask_epay,
    freeze_clock,
    kinds,
    put_control,
    put_queued,
    put_submitting,
    put_unknown,
    until_epay_says,
)
from worker.context import QueryPool
from worker.jobs.daily_reconciliation import reconcile_day

if TYPE_CHECKING:
    from tests.integration.conftest import World

DAY = date(2026, 11, 23)
"""The day of `Clock`."""


@pytest.fixture
def clock(world: World) -> Clock:
    return freeze_clock(world)


def day_is_over(clock: Clock, days: int = 1) -> None:
    """Six hours and some after the end of the day."""
    clock.now = datetime(2026, 11, 23, 6, 1, tzinfo=UTC) + timedelta(days=days)


def paid(world: World, *order_nos: str) -> None:
    """Payouts that were asked for, and ended as succeeded."""
    for order_no in order_nos:
        world.ask(order_no)
    for order_no in order_nos:
        until_epay_says(world, "7", order_no)
        assert ask_epay(world, order_no).status == "succeeded"


def order_of(world: World, order_no: str) -> Order:
    found = world.gateway.book.find(order_no)
    assert found is not None
    return found


def shown_all_the_same(world: World, order_no: str) -> None:
    """EPAY has an order that our row knows nothing of."""
    world.context.gateway.create(CreateOrder(order_no, "10.50", "USD", "11", "U1234567890"))


def result(world: World, day: date = DAY) -> tuple[int, int, int, bool]:
    """What the day's books say: agreed, differing, unanswered, finished."""
    found = ReconciliationStore(world.engine, ConfiguredAccount(ACCOUNT)).find(day)
    assert found is not None
    done = found.finished_at is not None
    return found.agreed, found.differing, found.unanswered, done


def queries(world: World) -> list[str]:
    return [str(no) for _, call, no in world.gateway.log.since(0) if call == "queryTransaction"]


def asked_so_far(world: World) -> Callable[[], list[str]]:
    """The queries from here on."""
    begin = len(queries(world))
    return lambda: queries(world)[begin:]


def forget_the_day(world: World) -> None:
    world.sql("DELETE FROM payout_books")


def holds(world: World) -> bool:
    return all(found is None for found in journal_audit.audit_chains(world.engine, NO_ENCRYPTION))


def test_a_day_of_every_kind(world: World, clock: Clock) -> None:
    """Differences are flagged, nothing is overwritten; the same day again writes nothing new."""
    paid(world, "good-1", "good-2", "turned", "dearer", "gone")
    world.ask("refused", remark="sandbox:refuse")
    world.ask("denied", remark="sandbox:refuse")
    put_queued(world, "waits", "waits-not")
    world.ask("late")
    world.gateway.report("turned", "6", callback=False)
    order_of(world, "dearer").fee = Decimal("0.55")
    order_of(world, "gone").visible_at = time.monotonic() + 1000
    for order_no in ("denied", "waits-not"):
        shown_all_the_same(world, order_no)
    for order_no in ("late", "denied", "waits-not"):
        until_epay_says(world, "7", order_no)
    day_is_over(clock)
    with capture_logs() as logs:
        assert reconcile_day(world.context) == 10
    assert result(world) == (5, 5, 0, True)
    told = [entry for entry in logs if entry["event"] == "books_compared"]
    assert told == [
        {
            "event": "books_compared",
            "log_level": "warning",
            "day": "2026-11-23",
            "agreed": 5,
            "differing": 5,
            "unanswered": 0,
        }
    ]
    reasons = {
        "turned": "contradiction: query says failed (EPAY status 6) after succeeded",
        "dearer": "books: fee 0.55 instead of 0.1",
        "gone": "books: EPAY has no such order (code 2001), and it is succeeded",
        "denied": "contradiction: query says succeeded (EPAY status 7) after rejected",
        "waits-not": "books: EPAY says succeeded (status 7), and it is queued",
        "good-1": None,
        "refused": None,
        "waits": None,
        "late": None,
    }
    assert {no: world.row(no).review_reason for no in reasons} == reasons
    statuses = {no: world.row(no).status.value for no in reasons}
    assert statuses == dict.fromkeys(reasons, "succeeded") | {
        "denied": "rejected",
        "refused": "rejected",
        "waits": "queued",
    }
    assert world.row("dearer").fee == Decimal("0.1")
    assert [kinds(world, no).count("books") for no in reasons] == [1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert holds(world)

    before = world.sql("SELECT count(*) AS n FROM payout_event")[0].n
    for order_no in ("turned", "gone"):  # a person has settled one of them, and still it is known
        world.sql(
            "UPDATE payout SET review_reason = NULL, review_since = NULL"
            " WHERE merchant_order_no = :no",
            no=order_no,
        )
    forget_the_day(world)
    assert reconcile_day(world.context) == 10
    assert result(world) == (6, 4, 0, True)  # waits-not has moved on
    assert world.sql("SELECT count(*) AS n FROM payout_event")[0].n == before
    assert world.row("gone").review_reason is None


def test_an_idle_tick_asks_nothing(world: World, clock: Clock) -> None:
    """Before its time a day is left alone; done, it is not begun again."""
    paid(world, "order-1")
    asked = asked_so_far(world)
    for moment in (clock.now, datetime(2026, 11, 24, 5, 59, tzinfo=UTC)):
        clock.now = moment
        assert reconcile_day(world.context) == 0
        assert asked() == []
    day_is_over(clock)
    assert reconcile_day(world.context) == 1
    assert reconcile_day(world.context) == 0
    assert asked() == ["order-1"]
    assert result(world) == (1, 0, 0, True)


def test_the_first_day_is_yesterday_and_a_pause_is_made_up_for(world: World, clock: Clock) -> None:
    """A long history is not asked for; of a pause the last seven days are."""
    day_is_over(clock)
    with capture_logs() as logs:
        assert reconcile_day(world.context) == 0
        assert reconcile_day(world.context) == 0
    assert [entry["day"] for entry in logs] == ["2026-11-23"]
    assert result(world) == (0, 0, 0, True)
    day_is_over(clock, days=10)
    with capture_logs() as logs:
        for _ in range(10):
            reconcile_day(world.context)
    last = date(2026, 12, 2)
    expected = [(last - timedelta(days=back)).isoformat() for back in range(6, -1, -1)]
    assert [entry["day"] for entry in logs] == expected


def test_payouts_of_other_days_and_accounts_are_left_out(world: World, clock: Clock) -> None:
    """From midnight to midnight, UTC; and one account's key asks for no other account."""
    for order_no, at in (
        ("before", datetime(2026, 11, 22, 23, 59, 59, 999999, tzinfo=UTC)),
        ("first", datetime(2026, 11, 23, tzinfo=UTC)),
        ("last", datetime(2026, 11, 23, 23, 59, 59, 999999, tzinfo=UTC)),
        ("after", datetime(2026, 11, 24, tzinfo=UTC)),
    ):
        put_queued(world, order_no, created_at=at)
    put_queued(world, "foreign", epay_account="other@epay.com")
    asked = asked_so_far(world)
    day_is_over(clock)
    assert reconcile_day(world.context) == 2
    assert sorted(asked()) == ["first", "last"]


@pytest.mark.parametrize("sample", [1, 7, 50])
def test_a_sample_is_spread_over_the_day(world: World, clock: Clock, sample: int) -> None:
    """Exactly so many, evenly, and the same ones each time."""
    made = put_queued(world, *(f"order-{number}" for number in range(10)))
    world.context = replace(world.context, books_sample=sample, query_batch=4)
    asked = asked_so_far(world)
    day_is_over(clock)
    assert reconcile_day(world.context) == min(sample, 10)
    first = sorted(asked())
    places = [nth for nth, payout in enumerate(made) if payout.merchant_order_no in first]
    assert len(places) == min(sample, 10)
    gaps = {after - before for before, after in pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    forget_the_day(world)
    reconcile_day(world.context)
    assert sorted(asked()) == sorted(first * 2)


def test_it_goes_on_where_a_tick_ended(world: World, clock: Clock) -> None:
    """After eight seconds a tick begins nothing new; the next asks for the rest alone."""
    put_control(world)
    put_queued(world, *(f"order-{number}" for number in range(6)))
    day_is_over(clock)

    def slow(orders: Mapping[int, str], max_wait: timedelta) -> Iterator[Any]:
        yield from asking(orders, max_wait)
        clock.forward(0 if "control-0" in orders.values() else 5)

    asking = world.context.query_many
    world.context = replace(world.context, query_batch=4, query_many=slow)
    asked = asked_so_far(world)
    assert reconcile_day(world.context) == 4
    assert result(world) == (4, 0, 0, False)
    assert reconcile_day(world.context) == 2
    assert asked().count("control-0") == 3  # one for each wave
    assert sorted({*asked()} - {"control-0"}) == [f"order-{number}" for number in range(6)]
    assert result(world)[0] == 6


def test_with_a_wrong_key_nothing_is_said_to_be_gone(world: World, clock: Clock) -> None:
    """Law 12: EPAY denies every order, the control too: none is flagged, and sending pauses."""
    put_control(world)
    paid(world, "order-1", "order-2")
    day_is_over(clock)
    denied = Refused("2001", "no such order")
    world.context = replace(
        world.context, query_many=lambda orders, _: iter([[(one, denied) for one in orders]])
    )
    reconcile_day(world.context)
    assert result(world) == (0, 0, 2, True)
    assert [world.row(no).review_reason for no in ("order-1", "order-2")] == [None, None]
    assert [pause.code for pause in pauses.active(world.engine)] == [pauses.REFUSED_BY_EPAY]


def test_two_ticks_at_once_count_and_flag_once(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where both have the claim, as when a tick outlives it."""
    paid(world, *(f"order-{number}" for number in range(4)))
    for number in range(4):
        world.gateway.report(f"order-{number}", "6", callback=False)
    day_is_over(clock)
    monkeypatch.setattr(ReconciliationStore, "claim", lambda *_: True)
    asking, meet = world.context.query_many, threading.Barrier(2, timeout=60)

    def together(orders: Mapping[int, str], max_wait: timedelta) -> Iterator[Any]:
        found = list(asking(orders, max_wait))
        meet.wait()
        yield from found

    world.context = replace(world.context, query_many=together)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: reconcile_day(world.context), range(2)))
    assert [kinds(world, f"order-{number}").count("books") for number in range(4)] == [1] * 4
    monkeypatch.undo()
    world.context = replace(world.context, query_many=asking)
    reconcile_day(world.context)
    assert result(world) == (0, 4, 0, True)
    assert holds(world)


def test_the_cursor_moves_from_where_it_was_seen_alone(world: World, clock: Clock) -> None:
    """Compare-and-set: what another tick has counted is not counted again, nor closed early."""
    store = ReconciliationStore(world.engine, ConfiguredAccount(ACCOUNT))
    assert store.begin(DAY, clock.now) == store.begin(DAY, clock.now)
    moved = store.advance(DAY, 0, 7, {Verdict.AGREED: 3, Verdict.DIFFERS: 1})
    assert moved is not None
    assert (moved.last_id, moved.agreed, moved.differing, moved.unanswered) == (7, 3, 1, 0)
    assert store.advance(DAY, 0, 7, {Verdict.AGREED: 3}) is None
    assert store.finish(DAY, 0, clock.now) is None
    assert store.finish(DAY, 7, clock.now) is not None
    assert store.advance(DAY, 7, 9, {Verdict.AGREED: 3}) is None
    assert store.finish(DAY, 7, clock.now) is None
    assert result(world) == (3, 1, 0, True)


def test_while_one_tick_is_at_it_others_ask_nothing(world: World, clock: Clock) -> None:
    """A slow gateway is not asked the same by every tick; a claim of the dead lapses."""
    put_queued(world, "order-1")
    day_is_over(clock)
    store = ReconciliationStore(world.engine, ConfiguredAccount(ACCOUNT))
    assert store.claim(clock.now, clock.now + timedelta(seconds=68))
    asked = asked_so_far(world)
    assert reconcile_day(world.context) == 0
    clock.forward(67)
    assert reconcile_day(world.context) == 0
    assert asked() == []
    clock.forward(1)
    assert reconcile_day(world.context) == 1


@pytest.mark.parametrize("point", ["update_many", "advance", "finish"])
def test_a_crash_at_any_point_repeats_a_chunk_harmlessly(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Before or after a commit: every payout counts once, every difference is one event."""
    paid(world, "order-1", "order-2")
    world.gateway.report("order-2", "6", callback=False)
    day_is_over(clock)
    owner: Any = PayoutStore if point == "update_many" else ReconciliationStore
    whole = getattr(owner, point)
    crash_after = iter([True, False])

    def crashing(*args: Any) -> Any:
        kind = next(crash_after, None)
        if kind is False:
            raise SystemExit
        found = whole(*args)
        if kind:
            raise SystemExit
        return found

    monkeypatch.setattr(owner, point, crashing)
    for _ in range(6):
        try:
            reconcile_day(world.context)
        except SystemExit:
            clock.forward(70)
    assert result(world) == (1, 1, 0, True)
    assert kinds(world, "order-2").count("books") == 1
    assert holds(world)


def test_a_gateway_that_is_away_is_waited_for(world: World, clock: Clock) -> None:
    """The day stands still, asked for once a minute, and goes on as if nothing had been."""
    paid(world, "order-1", "order-2", "order-3")
    day_is_over(clock)
    world.gateway.set_faults(down_seconds=600)
    assert reconcile_day(world.context) == 0
    assert result(world) == (0, 0, 0, False)
    world.gateway.clear_faults()
    asked = asked_so_far(world)
    clock.forward(59)
    assert reconcile_day(world.context) == 0
    assert asked() == []
    clock.forward(1)
    assert reconcile_day(world.context) == 3
    assert result(world) == (3, 0, 0, True)


def test_what_ends_on_another_day_is_compared_on_that_day_too(world: World, clock: Clock) -> None:
    """By EPAY's report or by a person, two days after it was asked for."""
    put_unknown(world, "late", "by-hand", "same-day")
    shown_all_the_same(world, "same-day")
    until_epay_says(world, "7", "same-day")
    assert ask_epay(world, "same-day").status == "succeeded"
    day_is_over(clock)
    assert reconcile_day(world.context) == 3
    assert result(world) == (3, 0, 0, True)

    clock.forward(30 * 3600)
    shown_all_the_same(world, "late")
    until_epay_says(world, "7", "late")
    assert ask_epay(world, "late").status == "succeeded"
    decision = Decision(Action.ACCEPT_AS, "ann", "EPAY told us", Status.SUCCEEDED)
    world.context.store.update(
        world.row("by-hand").id,
        lambda fresh: decide(
            fresh,
            decision,
            Refused("2001", "no such order"),
            now=clock.now,
            policy=world.context.policy,
        ),
    )
    order_of(world, "late").fee = Decimal("0.55")
    shown_all_the_same(world, "by-hand")
    world.gateway.report("by-hand", "6", callback=False)

    day_is_over(clock, days=3)
    assert [reconcile_day(world.context) for _ in range(3)] == [0, 2, 0]
    assert result(world, DAY + timedelta(days=1)) == (0, 0, 0, True)
    assert result(world, DAY + timedelta(days=2)) == (0, 2, 0, True)
    reasons = [str(world.row(no).review_reason) for no in ("late", "by-hand", "same-day")]
    assert [reason.partition(":")[0] for reason in reasons] == ["books", "contradiction", "None"]
    assert holds(world)


def test_a_gateway_that_stays_away_does_not_hold_the_books_for_ever(
    world: World, clock: Clock
) -> None:
    """After a day the books are closed, and say how much was not answered."""
    paid(world, "order-1", "order-2")
    day_is_over(clock)
    world.gateway.set_faults(down_seconds=600)
    reconcile_day(world.context)
    clock.forward(86_400)
    with capture_logs() as logs:
        assert reconcile_day(world.context) == 2
    assert result(world) == (0, 0, 2, True)
    assert [(entry["unanswered"], entry["log_level"]) for entry in logs] == [(2, "warning")]
    assert [world.row(no).review_reason for no in ("order-1", "order-2")] == [None, None]


def test_what_was_not_asked_in_time_is_asked_again(world: World, clock: Clock) -> None:
    """A bound on requests makes a chunk take longer than its time: nothing is skipped for it."""
    put_control(world)
    put_queued(world, *(f"order-{number}" for number in range(5)))
    day_is_over(clock)
    asking, cut = world.context.query_many, iter([2, 1])

    def partly(orders: Mapping[int, str], max_wait: timedelta) -> Iterator[Any]:
        most = 1 if "control-0" in orders.values() else next(cut, len(orders))
        yield from asking(dict(list(orders.items())[:most]), max_wait)

    world.context = replace(world.context, query_many=partly)
    asked = asked_so_far(world)
    assert reconcile_day(world.context) == 5
    assert result(world) == (5, 0, 0, True)
    orders = [no for no in asked() if no != "control-0"]
    assert sorted(orders) == [f"order-{number}" for number in range(5)]


def test_no_connection_is_held_while_epay_is_asked(world: World, clock: Clock) -> None:
    """Law 9, with one connection in all."""
    paid(world, "order-1", "order-2")
    day_is_over(clock)
    engine = make_engine(str(world.engine.url.render_as_string(hide_password=False)), pool_size=1)
    held: list[int] = []

    class Watching:
        def create(self, order: CreateOrder, **_: object) -> OrderAnswer:
            raise AssertionError(order.merchant_order_no)

        def query(self, merchant_order_no: str) -> OrderAnswer:
            held.append(engine.pool.checkedout())  # type: ignore[attr-defined]
            return world.context.gateway.query(merchant_order_no)

    asking = QueryPool(Watching(), 4)
    try:
        reconcile_day(replace(world.context, store=PayoutStore(engine), query_many=asking))
    finally:
        asking.close()
        engine.dispose()
    assert held == [0, 0]
    assert result(world) == (2, 0, 0, True)


def test_a_callback_that_comes_while_epay_is_asked(world: World, clock: Clock) -> None:
    """What was said before the end is no difference: it counts as not answered."""
    (payout,) = put_submitting(world, "order-1")
    ctx = world.context
    shown_all_the_same(world, "order-1")
    shown = ctx.gateway.query("order-1")
    assert isinstance(shown, Report)
    open_answer = replace(shown, status="1")
    until_epay_says(world, "7")
    day_is_over(clock)

    def overtaken(orders: Mapping[int, str], max_wait: timedelta) -> Iterator[Any]:
        clock.forward(1)
        ended = on_create_answer(
            payout, ctx.gateway.query("order-1"), claim_id="c", now=clock.now, policy=ctx.policy,
            jitter=0.0,
        )  # fmt: skip
        assert ctx.store.apply(ended)
        clock.forward(1)
        yield [(payout_id, open_answer) for payout_id in orders]

    assert reconcile_day(replace(ctx, query_many=overtaken)) == 1
    assert result(world) == (0, 0, 1, True)
    assert world.row().review_reason is None


def test_the_ids_of_a_day_come_by_its_index(world: World) -> None:
    """Not by walking the history."""
    begin, end = day_bounds(DAY)
    ours = {"account_key": ACCOUNT, "gateways": ["gateway.example"]}
    values = ours | {"begin": begin, "end": end, "last_id": 0, "limit": 9}
    for wanted in (ORDERS, SAMPLED):
        with world.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = connection.execute(text(f"EXPLAIN {wanted}"), values | {"sample": 3}).all()
        for index in ("payout_created_idx", "payout_finished_idx"):
            assert any(index in row[0] for row in plan), index


@pytest.mark.parametrize(("books_setting", "there"), [("on", True), ("off", False)])
def test_the_tick_is_on_the_schedule_unless_books_are_off(
    monkeypatch: pytest.MonkeyPatch, books_setting: str, there: bool
) -> None:
    """It bears no `expires` (law 15): the clocks of two machines are not compared."""
    settings = {
        "DATABASE_URL": "postgresql://u@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "EPAY_BASE_URL": "http://127.0.0.1:1/capi/openapi",
        "EPAY_ACCOUNT": ACCOUNT,
        "EPAY_API_KEY": API_KEY,
        "BOOKS": books_setting,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    from worker.celery import beat_schedule

    schedule = beat_schedule(Settings())
    assert ("books" in schedule) is there
    if there:
        assert schedule["books"] == {
            "task": "payouts.books",
            "schedule": 10.0,
            "options": {"queue": "payouts.reconcile"},
        }
