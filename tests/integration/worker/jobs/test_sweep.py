"""`payouts.sweep`: the clock. What is due is claimed, handed out, and never lost."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from shared.contract import TASK_QUERY, TASK_SUBMIT
from shared.domain.payout import Status
from shared.storage import journal_audit
from shared.storage.encryption import NO_ENCRYPTION
from shared.storage.payout_store import ClaimedKey, PayoutStore
from tests.support.jobs import (
    callback_message,
    deliver,
    freeze_clock,
    kinds,
    of_ledger,
    put_queued,
    put_submitting,
    put_unknown,
    tick,
)
from worker.jobs.callback import callback
from worker.jobs.sweep import sweep

if TYPE_CHECKING:
    from tests.integration.conftest import World


def orders(count: int) -> list[str]:
    return [f"order-{nth}" for nth in range(1, count + 1)]


def dispatched(world: World) -> list[int]:
    """The ids in all published messages, and forget those."""
    ids = []
    for _task, kwargs in world.published:
        ids += kwargs.get("payout_ids", [kwargs.get("payout_id")])
    world.published.clear()
    return ids


def test_nothing_due_is_nothing_done(world: World) -> None:
    """An idle tick publishes nothing."""
    clock = freeze_clock(world)
    put_queued(world, "order-1", due_at=clock.now)
    clock.forward(-1)
    put_unknown(world, "order-2")
    assert sweep(world.context) == {"lapsed": 0, "submit": 0, "query": 0}
    assert world.published == []


def test_a_queued_payout_gets_a_submit_of_its_own(world: World) -> None:
    """One message for each, with the lease that is in the row."""
    clock = freeze_clock(world)
    payouts = put_queued(world, *orders(3))
    assert sweep(world.context) == {"lapsed": 0, "submit": 3, "query": 0}
    lease = clock.now + world.context.policy.lease
    expected = [
        (TASK_SUBMIT, {"payout_id": payout.id, "lease": lease.isoformat()}) for payout in payouts
    ]
    assert sorted(world.published, key=lambda one: one[1]["payout_id"]) == expected
    assert {world.row(no).due_at for no in orders(3)} == {lease}


def test_what_is_followed_is_asked_about_in_batches(world: World) -> None:
    """Query messages hold at most `query_batch` payouts."""
    clock = freeze_clock(world)
    payouts = put_unknown(world, *orders(5))
    world.context = replace(world.context, query_batch=2)
    clock.forward(30)
    assert sweep(world.context) == {"lapsed": 0, "submit": 0, "query": 5}
    assert [(task, len(kwargs["payout_ids"])) for task, kwargs in world.published] == [
        (TASK_QUERY, 2),
        (TASK_QUERY, 2),
        (TASK_QUERY, 1),
    ]
    lease = {datetime.fromisoformat(kwargs["lease"]) for _, kwargs in world.published}
    assert lease == {world.row().due_at}
    assert sorted(dispatched(world)) == [payout.id for payout in payouts]


def test_a_sweep_takes_a_bounded_batch_the_longest_due_first(world: World) -> None:
    """Seven due, three at a time: the oldest first, each once."""
    clock = freeze_clock(world)
    ids = []
    for nth in range(7):
        due_at = clock.now - timedelta(seconds=nth)
        [payout] = put_queued(world, f"order-{nth}")
        world.sql("UPDATE payout SET due_at = :due WHERE id = :id", due=due_at, id=payout.id)
        ids.insert(0, payout.id)
    world.context = replace(world.context, sweep_batch=3)
    found = []
    for expected in (3, 3, 1, 0):
        assert sweep(world.context)["submit"] == expected
        found.append(sorted(dispatched(world)))
    assert found == [sorted(ids[:3]), sorted(ids[3:6]), ids[6:], []]


def test_a_lease_that_is_over_is_asked_about_at_once(world: World) -> None:
    """Law 2: the sender did not come back: unknown, with an event, and queried in the same tick."""
    clock = freeze_clock(world)
    put_submitting(world, *orders(2))
    clock.forward(59.999)
    assert sweep(world.context) == {"lapsed": 0, "submit": 0, "query": 0}
    clock.forward(0.001)
    assert sweep(world.context) == {"lapsed": 2, "submit": 0, "query": 2}
    assert world.row().status is Status.UNKNOWN
    assert kinds(world) == ["accepted", "lease_over"]
    deliver(world)
    assert kinds(world)[-1] == "no_such_order"


def test_a_lapse_is_bounded_too(world: World) -> None:
    """A worker that died with many claims does not make one endless transaction."""
    clock = freeze_clock(world)
    put_submitting(world, *orders(5))
    world.context = replace(world.context, sweep_batch=2)
    clock.forward(60)
    assert [sweep(world.context)["lapsed"] for _ in range(4)] == [2, 2, 1, 0]
    assert len(set(dispatched(world))) == 5


def test_what_is_final_is_never_due(world: World) -> None:
    """Nothing is dispatched for an ended payout, in a year."""
    clock = freeze_clock(world)
    put_unknown(world, "order-1")
    callback(world.context, callback_message())
    clock.forward(31_536_000)
    assert tick(world) == {"lapsed": 0, "submit": 0, "query": 0}


def test_sweeps_at_once_dispatch_disjoint_sets(world: World) -> None:
    """Four beats: each payout is dispatched once, and none left out."""
    clock = freeze_clock(world)
    payouts = put_queued(world, *[f"queued-{nth}" for nth in range(30)])
    payouts += put_unknown(world, *[f"unknown-{nth}" for nth in range(30)])
    payouts += put_submitting(world, *[f"sending-{nth}" for nth in range(30)])
    clock.forward(60)
    world.context = replace(world.context, sweep_batch=20)

    def beat(_nth: int) -> None:
        while any(sweep(world.context).values()):
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(beat, range(4)))
    assert sorted(dispatched(world)) == sorted(payout.id for payout in payouts)


def test_whatever_is_open_and_old_has_a_reason(world: World) -> None:
    """Law 16: paused, never claimed, being sent or followed: age alone decides, once, on record."""
    clock = freeze_clock(world)
    put_queued(world, "queued", "held")
    put_submitting(world, "submitting")
    put_unknown(world, "unknown", "ended")
    callback(world.context, callback_message("ended"))
    world.sql(
        "UPDATE payout SET due_at = :later WHERE due_at IS NOT NULL",
        later=clock.now + timedelta(days=30),
    )
    clock.forward(259_199)
    sweep(world.context)
    assert world.sql("SELECT 1 FROM payout WHERE review_reason IS NOT NULL") == []
    clock.forward(1)
    assert sweep(world.context) == {"lapsed": 0, "submit": 0, "query": 0}
    flagged = world.sql("SELECT merchant_order_no, review_reason FROM payout")
    old = "overdue: no end since 2026-11-23"
    assert {row.merchant_order_no: row.review_reason for row in flagged} == {
        "queued": old,
        "held": old,
        "submitting": old,
        "unknown": old,
        "ended": None,
    }
    assert [kinds(world, no)[-1] for no in ("queued", "submitting", "unknown")] == ["overdue"] * 3
    assert set(journal_audit.audit_chains(world.engine, NO_ENCRYPTION)) == {None}
    events = world.sql("SELECT count(*) FROM payout_event")
    sweep(world.context)
    assert world.sql("SELECT count(*) FROM payout_event") == events


def test_the_search_for_old_payouts_goes_by_an_index_of_open_ones(world: World) -> None:
    """It costs nothing for each payout that has ended."""
    run: list[Any] = []
    event.listen(world.engine, "before_cursor_execute", lambda *args: run.append(args[2:4]))
    world.context.store.flag_overdue(world.context.clock(), 9, lambda _: None)
    statement, values = next(one for one in run if "created_at <=" in one[0])
    with world.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", values).all()
    assert any("payout_open_idx" in row[0] for row in plan), plan


def test_submits_that_wait_are_not_dispatched_again(world: World) -> None:
    """A backlog longer than a lease: no second message for what still waits, and it is sent."""
    clock = freeze_clock(world)
    put_queued(world, *orders(6))
    put_unknown(world, "unknown-1")
    waiting: list[datetime] = []
    world.context = replace(
        world.context, sweep_batch=4, oldest_submit=lambda: min(waiting, default=None)
    )
    assert sweep(world.context)["submit"] == 4
    waiting.append(clock.now + world.context.policy.lease)
    clock.forward(10)
    assert sweep(world.context)["submit"] == 2, "younger than a lease: more are dispatched"
    clock.forward(300)
    assert sweep(world.context) == {"lapsed": 0, "submit": 0, "query": 1}
    deliver(world)
    assert {world.row(no).status for no in orders(6)} == {Status.PROCESSING}
    assert all(of_ledger(world, no)["creates_received"] == 1 for no in orders(6))
    put_queued(world, "order-7")
    assert sweep(world.context)["submit"] == 0
    waiting.clear()
    assert sweep(world.context)["submit"] == 1


def test_an_unchecked_database_stops_new_sends_alone(world: World) -> None:
    """Law 15: leases expire, old payouts are flagged, EPAY is queried; no submit is dispatched."""
    clock = freeze_clock(world)
    put_queued(world, "queued")
    put_submitting(world, "submitting")
    put_unknown(world, "unknown")
    clock.forward(259_200)
    watch = world.context.watch_database

    def failing(_now: datetime) -> None:
        raise ZeroDivisionError

    world.context = replace(world.context, watch_database=failing)
    assert sweep(world.context) == {"lapsed": 1, "submit": 0, "query": 2}
    assert {task for task, _ in world.published} == {TASK_QUERY}
    assert kinds(world, "queued") == ["accepted", "overdue"]
    world.context = replace(world.context, watch_database=watch)
    assert sweep(world.context)["submit"] == 1


def test_ticks_that_piled_up_do_the_work_of_one(world: World) -> None:
    """Law 15: a tick is stale by PostgreSQL's clock alone; a mark in its future does not count."""
    freeze_clock(world)
    put_queued(world, *orders(3))
    world.context = replace(world.context, sweep_batch=1, sweep_spacing=timedelta(seconds=30))
    assert [sweep(world.context)["submit"] for _ in range(3)] == [1, 0, 0]
    world.sql("UPDATE payout_mark SET at = now() - interval '31 seconds'")
    assert [sweep(world.context)["submit"] for _ in range(2)] == [1, 0]
    world.sql("UPDATE payout_mark SET at = now() + interval '1 hour'")
    assert [sweep(world.context)["submit"] for _ in range(2)] == [1, 0]


def test_a_message_that_is_lost_is_made_good_after_the_lease(world: World) -> None:
    """Redis forgets all: not dispatched again before the lease is over, and then all of it."""
    clock = freeze_clock(world)
    put_queued(world, *orders(3))
    put_unknown(world, "unknown-1")
    clock.forward(30)
    sweep(world.context)
    lost = sorted(dispatched(world))
    clock.forward(59)
    assert tick(world) == {"lapsed": 0, "submit": 0, "query": 0}
    clock.forward(1)
    sweep(world.context)
    assert sorted(dispatched(world)) == lost


def test_a_broker_that_goes_away_in_the_middle_loses_nothing(world: World) -> None:
    """The third publish fails: the error is told, and after the lease all are dispatched."""
    clock = freeze_clock(world)
    payouts = put_queued(world, *orders(5))
    through: list[Mapping[str, Any]] = []

    def failing(_task: str, kwargs: Mapping[str, Any]) -> None:
        if len(through) == 2:
            raise ConnectionError
        through.append(kwargs)

    with pytest.raises(ConnectionError):
        sweep(replace(world.context, publish=failing))
    assert all(world.row(no).due_at is not None for no in orders(5))
    clock.forward(60)
    sweep(world.context)
    assert sorted(dispatched(world)) == [payout.id for payout in payouts]


class ClaimReplyLost(PayoutStore):
    """A store whose first claim of the sweep is committed and whose reply is then lost."""

    lost = 0

    def claim_due(self, *args: Any, **kwargs: Any) -> list[ClaimedKey]:
        claimed = super().claim_due(*args, **kwargs)
        if not self.lost:
            self.lost += 1
            raise OperationalError("UPDATE", {}, ConnectionError("server closed the connection"))
        return claimed


def test_a_claim_whose_reply_was_lost_comes_due_again(world: World) -> None:
    """The sweep that never heard of its claims: they are due again when the lease is over."""
    clock = freeze_clock(world)
    put_queued(world, "order-1")
    world.context = replace(world.context, store=ClaimReplyLost(world.engine))
    assert world.context.database_retry.run(lambda: sweep(world.context))["submit"] == 0
    clock.forward(60)
    assert tick(world)["submit"] == 1
    assert world.row().status is Status.PROCESSING


def test_after_hours_without_a_beat_all_is_caught_up(world: World) -> None:
    """No sweep for a day: what was queued is sent, what was being sent is asked about."""
    clock = freeze_clock(world)
    put_queued(world, "order-1")
    put_submitting(world, "order-2")
    put_unknown(world, "order-3")
    clock.forward(86_400)
    assert tick(world) == {"lapsed": 1, "submit": 1, "query": 2}
    assert world.row("order-1").status is Status.PROCESSING
    assert world.row("order-2").status is Status.UNKNOWN
