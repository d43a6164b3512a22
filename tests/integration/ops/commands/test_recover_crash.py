"""PostgreSQL dies before it wrote down what it had confirmed: law 11, on a real server."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from devstack.postgres import LocalPostgres
from devstack.wait import wait_for
from shared.redis_client import RedisClient
from shared.storage import migrate, pauses
from shared.storage.engine import make_engine
from shared.storage.pauses import DATABASE_CHANGED
from shared.storage.payout_store import PayoutStore
from tests.integration.conftest import ACCOUNT, API_KEY, NOT_FOUND, MakeWorld, World
from tests.support.deployment import Watched, owner
from tests.support.jobs import claim_id, put_control, put_queued, tick
from worker.deployment import DatabaseWatch
from worker.jobs.submit import submit

WHO = ("--name", "Ann", "--reason", "PostgreSQL crashed")
LAZY = {"synchronous_commit": "off", "wal_writer_delay": "10s"}
"""Commits are confirmed before they are on disk."""
QUEUED = [f"queued-{n}" for n in range(10)]
LATE = [f"late-{n}" for n in range(10)]


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[RedisClient]:
    client = RedisClient(redis_url)
    yield client
    client.close()


def lazy_engine(url: str) -> Engine:
    """As a pooler does it that drops the settings of our sessions: the server's `off` counts."""
    engine = make_engine(url, pool_size=4)

    @event.listens_for(engine, "connect")
    def forget_settings(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute("SET synchronous_commit = off")
        connection.autocommit = False

    return engine


def watch(world: World, url: str, redis_client: RedisClient) -> None:
    """Put the world on the database, as a worker does when it starts."""
    world.engine = lazy_engine(url)
    world.context = replace(world.context, store=PayoutStore(world.engine))
    found = Watched(world, DatabaseWatch(world.engine, redis_client, owner), redis_client)
    assert found.watch.start() is None


def hold_back_the_disk(world: World) -> int:
    """From now on nothing writes down what was confirmed. Returns the stopped process."""
    world.sql("CHECKPOINT")
    walwriter = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
    pid: int = world.sql(walwriter)[0].pid
    os.kill(pid, signal.SIGSTOP)
    return pid


def count_sent(world: World) -> int:
    sent = (
        "SELECT count(*) AS n FROM payout WHERE attempts > 0 AND merchant_order_no <> 'control-0'"
    )
    count: int = world.sql(sent)[0].n
    return count


@pytest.mark.parametrize("is_noticed", [True, False], ids=["a sweep came after", "no sweep since"])
def test_commits_that_a_crash_lost(
    make_world: MakeWorld,
    redis_client: RedisClient,
    redis_url: str,
    payouts: Any,
    is_noticed: bool,
) -> None:
    """20 sent and paid, their commits lost, all asked for again: each is paid once.

    Redis shows the crash by its sweep mark, or else by the mark of each send alone.
    """
    with LocalPostgres(settings=LAZY) as server:
        url = server.create_database("payouts")
        migrate.upgrade(url)
        world = make_world(visibility_delay=timedelta(seconds=1), query_backoff=(0,))
        watch(world, url, redis_client)
        put_control(world)
        put_queued(world, *QUEUED)
        walwriter = hold_back_the_disk(world)
        for no in QUEUED:
            submit(world.context, world.row(no).id, None, claim_id())
        for no in LATE:
            world.ask(no)
        if is_noticed:
            world.context.watch_database(world.context.clock())
        wait_for(lambda: world.gateway.ledger()["totals"]["payments"] == 20, 60, "20 payments")
        os.kill(walwriter, signal.SIGKILL)
        server.kill()
        world.engine.dispose()
        server.start()

        watch(world, url, redis_client)
        assert count_sent(world) == 0, "the crash lost nothing"
        asked = [world.ask(no)["status"] for no in (*QUEUED, *LATE)]
        if is_noticed:
            assert asked == ["queued"] * 20
            assert [pause.code for pause in pauses.active(world.engine)] == [DATABASE_CHANGED]
            ran = payouts(
                "recover",
                *WHO,
                DATABASE_URL=url,
                REDIS_URL=redis_url,
                EPAY_BASE_URL=world.gateway.base_url,
                EPAY_ACCOUNT=ACCOUNT,
                EPAY_API_KEY=API_KEY,
                EPAY_NOT_FOUND_CODES=NOT_FOUND,
            )
            assert ran.code == 0, ran.err
            assert "20 that EPAY has: queued, now succeeded" in ran.out
        else:
            assert asked == ["queued"] * 10 + ["unknown"] * 10
            for _ in range(2):
                world.sql("UPDATE payout SET due_at = now() WHERE due_at IS NOT NULL")
                tick(world)
        ends = world.sql("SELECT status, count(*) AS n FROM payout GROUP BY status")
        assert [(row.status, row.n) for row in ends] == [("succeeded", 21)]
        totals = world.gateway.ledger()["totals"]
        assert (totals["payments"], totals["paid_twice"]) == (20, 0)
        world.engine.dispose()
