"""Law 11: the marks of sends in Redis, after Redis was away, was emptied or went back itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from shared import contract
from shared.messaging.owner import HIGH_WATER, REBUILD_BELOW, REDIS_RUN, DeploymentMarks
from shared.redis_client import RedisClient
from shared.storage import deployment
from tests.integration.conftest import ACCOUNT, World
from tests.support.deployment import Watched, owner
from tests.support.jobs import put_queued, put_unknown, tick
from worker.broker.peek import oldest_lease
from worker.deployment import DatabaseWatch


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[RedisClient]:
    client = RedisClient(redis_url)
    yield client
    client.close()


@pytest.fixture
def watched(world: World, redis_client: RedisClient) -> Watched:
    found = Watched(world, DatabaseWatch(world.engine, redis_client, owner), redis_client)
    assert found.watch.start() is None
    tick(world)
    return found


def key(order_no: str = "order-1") -> str:
    return f"payouts:sent:{ACCOUNT}:{order_no}"


def sweep_thrice(found: Watched) -> None:
    """To notice it, to write the marks, to end."""
    for _ in range(3):
        tick(found.world)


def test_redis_that_was_restarted_from_an_old_snapshot(watched: Watched) -> None:
    """The hash names another server process than the one that answers."""
    watched.world.ask()
    put_unknown(watched.world, "open")
    later = "now() + interval '1 day'"
    watched.world.sql(f"UPDATE payout SET due_at = {later} WHERE due_at IS NOT NULL")
    watched.redis.client.delete(key())
    watched.redis.client.hset("payouts:deployment", REDIS_RUN, "the one before")
    sweep_thrice(watched)
    assert watched.redis.client.exists(key(), key("open")) == 2
    assert REBUILD_BELOW not in watched.known()
    assert watched.known()[REDIS_RUN] != "the one before"
    assert watched.active() == []
    rows = watched.world.sql("SELECT min(due_at) > now() + interval '23 h' AS later FROM payout")
    assert rows[0].later, "what is open need not be asked about"


def test_redis_whose_count_lags_behind(watched: Watched) -> None:
    """The same server process, with an older state."""
    watched.world.ask()
    watched.redis.client.delete(key())
    with watched.world.engine.begin() as connection:
        deployment.repin(connection, 60, watched.world.context.clock() - timedelta(days=1))
    sweep_thrice(watched)
    assert watched.redis.client.exists(key())
    assert int(watched.known()[HIGH_WATER]) > 60


def test_redis_as_it_was_writes_no_marks_anew(watched: Watched) -> None:
    watched.world.ask()
    watched.redis.client.delete(key())
    sweep_thrice(watched)
    assert not watched.redis.client.exists(key())


def test_a_send_while_redis_was_away_gets_its_mark(watched: Watched) -> None:
    """No sweep ran meanwhile: the database remembers that a mark was missed."""
    watched.redis._retry_at = float("inf")
    assert watched.world.ask()["status"] == "processing"
    watched.redis._retry_at = 0.0
    assert not watched.redis.client.exists(key())
    sweep_thrice(watched)
    assert watched.redis.client.exists(key())
    found = deployment.find(watched.world.engine)
    assert found is not None
    assert found.marks_missed is None


def test_a_mark_that_is_missed_during_a_rebuild_begins_it_anew(watched: Watched) -> None:
    """The page that was read before does not hide what was sent since."""
    marks = DeploymentMarks(watched.redis)
    marks.update({REBUILD_BELOW: "70"})
    marks.note_rebuilt("60", 5)
    assert watched.known()[REBUILD_BELOW] == "70"
    marks.note_rebuilt("60", 0)
    assert watched.known()[REBUILD_BELOW] == "70"
    marks.note_rebuilt("70", 0)
    assert REBUILD_BELOW not in watched.known()


def test_an_old_payout_that_was_sent_lately_gets_its_mark(watched: Watched) -> None:
    """Held for a month, then sent: `last_sent_at` counts, and what was sent long ago has none."""
    for order_no in ("held", "ended"):
        watched.world.ask(order_no)
    watched.world.sql("UPDATE payout SET created_at = created_at - interval '30 days'")
    watched.world.sql(
        "UPDATE payout SET last_sent_at = last_sent_at - interval '30 days'"
        " WHERE merchant_order_no = 'ended'"
    )
    watched.redis.client.flushdb()
    sweep_thrice(watched)
    assert watched.redis.client.exists(key("held"))
    assert not watched.redis.client.exists(key("ended"))


def test_a_rebuild_goes_page_by_page(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded by what it reads and by what it writes; a page without any does not end it."""
    engine, since = watched.world.engine, watched.world.context.clock() - timedelta(days=1)
    order_nos = [f"order-{nth}" for nth in range(9)]
    put_unknown(watched.world, *order_nos[:2])
    put_queued(watched.world, *order_nos[2:7])
    put_unknown(watched.world, *order_nos[7:])
    for name, value in (("_SENT_RANGE", 3), ("_SENT_LIMIT", 2)):
        monkeypatch.setattr(deployment, name, value)
    seen, below, pages = [], 2**62, 0
    while below:
        page, below = deployment.sent_below(engine, below, since)
        assert len(page) <= 2
        seen += [one.merchant_order_no for one in page]
        pages += 1
    assert seen == ["order-8", "order-7", "order-1", "order-0"]
    assert pages < 9


def test_a_rebuild_reads_by_the_primary_key(watched: Watched) -> None:
    """No page reads more than its range of ids."""
    values = {"below": 9, "from_id": 1, "since": watched.world.context.clock(), "limit": 5}
    with watched.world.engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(text(f"EXPLAIN {deployment.SENT.text}"), values).scalars().all()
    assert any("payout_pkey" in line for line in plan), plan
    assert any("Index Cond: ((id <" in line for line in plan), plan


def test_the_newer_mark_stays(watched: Watched) -> None:
    """A snapshot has the mark of an attempt before; and a send can be faster than the rebuild."""
    watched.world.ask()
    newer = str(watched.redis.client.get(key()))
    epoch, sequence, rest = newer.split(":", 2)
    for was, after in ((int(sequence) - 1, "0"), (int(sequence) + 5, epoch)):
        watched.redis.client.set(key(), f"{epoch}:{was}:{rest}", ex=9)
        watched.redis.client.hset("payouts:deployment", REDIS_RUN, "another")
        sweep_thrice(watched)
        found = str(watched.redis.client.get(key())).split(":")
        row = watched.world.row()
        assert found[:2] == [after, str(row.sequence if was < int(sequence) else was)]


def test_another_spelling_of_the_account_has_the_same_mark(watched: Watched) -> None:
    """Law 10: accounts are compared stripped and case-folded, here too."""
    watched.world.ask()
    (again,) = put_queued(watched.world, "order-2")
    spelled = replace(again, merchant_order_no="order-1", epay_account=f" {ACCOUNT.upper()} ")
    doubt = watched.world.context.witness(spelled)
    assert doubt is not None
    assert doubt.kind == "sent_before"


def test_what_is_open_is_made_due_without_waiting_for_a_lock(watched: Watched) -> None:
    """A worker holds one row: the others are asked about, in several batches."""
    world = watched.world
    put_unknown(world, *[f"order-{nth}" for nth in range(7)])
    world.sql("UPDATE payout SET due_at = now() + interval '1 day'")
    held = "SELECT id FROM payout WHERE merchant_order_no = 'order-3' FOR UPDATE"
    with world.engine.begin() as other, pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "_ASKED_AT_ONCE", 2)
        other.execute(text(held))
        assert deployment.ask_open(world.engine, world.context.clock()) == 6
    rows = world.sql(
        "SELECT merchant_order_no FROM payout WHERE due_at > now() + interval '5 minutes'"
    )
    assert [row.merchant_order_no for row in rows] == ["order-3"]


def test_a_queue_that_is_no_list_does_not_stop_the_sweep(watched: Watched) -> None:
    """WRONGTYPE is an answer of Redis: other keys are served at once (law 15)."""
    watched.redis.client.set(contract.QUEUE_SUBMIT, "not a list")
    assert oldest_lease(watched.redis, contract.QUEUE_SUBMIT) is None
    assert watched.redis.run(watched.redis.client.ping)
