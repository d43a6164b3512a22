"""A standby that was behind is promoted: the same law 11 as for a restore, on two real servers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack.binaries import postgres_program
from devstack.postgres import FAST_UNSAFE, LocalPostgres
from devstack.unprivileged import server_user
from devstack.wait import wait_for
from shared.redis_client import RedisClient
from shared.storage import migrate, pauses
from shared.storage.engine import make_engine
from shared.storage.pauses import DATABASE_CHANGED
from shared.storage.payout_store import PayoutStore
from tests.integration.conftest import ACCOUNT, API_KEY, NOT_FOUND, MakeWorld
from tests.support.deployment import Watched, owner
from tests.support.jobs import claim_id, put_queued, tick
from worker.deployment import DatabaseWatch
from worker.jobs.submit import submit

WHO = ("--name", "Ann", "--reason", "the standby was promoted")
QUEUED = [f"queued-{n}" for n in range(20)]
LATE = [f"late-{n}" for n in range(10)]


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[RedisClient]:
    client = RedisClient(redis_url)
    yield client
    client.close()


def copy_of(primary: LocalPostgres, folder: Path) -> LocalPostgres:
    """A standby of the primary, not started."""
    command = [
        str(postgres_program().with_name("pg_basebackup")),
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
    ]
    subprocess.run(
        [*command, "-D", str(folder / "data"), "-d", primary.url], check=True, timeout=120
    )
    (folder / "data" / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
    folder.chmod(0o755)
    user = server_user()
    if user:
        chown = ["chown", "-R", f"{user['user']}:{user['group']}", str(folder)]
        subprocess.run(chown, check=True)
    return LocalPostgres(folder, settings=FAST_UNSAFE)


def run(url: str, statement: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
    return row and row[0]


def test_a_promoted_standby_that_was_behind(
    make_world: MakeWorld, redis_client: RedisClient, redis_url: str, payouts: Any
) -> None:
    """20 queued at the standby and paid at the primary, 10 that it never saw: each paid once."""
    with LocalPostgres(settings=FAST_UNSAFE) as primary:
        url = primary.create_database("payouts")
        migrate.upgrade(url)
        engine = make_engine(url, pool_size=4)
        world = make_world(visibility_delay=timedelta(seconds=1), query_backoff=(0,))
        world.engine = engine
        world.context = replace(world.context, store=PayoutStore(engine))
        worker = Watched(world, DatabaseWatch(engine, redis_client, owner), redis_client)
        assert worker.watch.start() is None
        put_queued(world, *QUEUED)
        folder = Path(primary._temporary_folder("/tmp"))
        standby = copy_of(primary, folder)
        with standby:
            end = run(primary.url, "SELECT pg_current_wal_lsn()::text")
            caught_up = f"SELECT pg_last_wal_replay_lsn() >= '{end}'"
            wait_for(lambda: run(standby.url, caught_up), 60, "the standby to catch up")
            standby.stop()
            for no in QUEUED:
                submit(world.context, world.row(no).id, None, claim_id())
            for no in LATE:
                world.ask(no)
            totals = lambda: world.gateway.ledger()["totals"]  # noqa: E731
            wait_for(lambda: totals()["payments"] == 30, 60, "all to be paid")
            engine.dispose()
            primary.kill()
            standby.start()
            run(standby.url, "SELECT pg_promote()")
            promoted = standby.url.replace("/postgres?", "/payouts?")
            engine = make_engine(promoted, pool_size=4)
            world.engine = engine
            world.context = replace(world.context, store=PayoutStore(engine))
            worker = Watched(world, DatabaseWatch(engine, redis_client, owner), redis_client)
            assert worker.watch.start() is None
            (pause,) = pauses.active(engine)
            assert (pause.code, "another timeline" in pause.reason) == (DATABASE_CHANGED, True)
            assert {world.ask(no)["status"] for no in LATE[:5]} == {"queued"}
            ran = payouts(
                "recover",
                *WHO,
                DATABASE_URL=promoted,
                REDIS_URL=redis_url,
                EPAY_BASE_URL=world.gateway.base_url,
                EPAY_ACCOUNT=ACCOUNT,
                EPAY_API_KEY=API_KEY,
                EPAY_NOT_FOUND_CODES=NOT_FOUND,
            )
            assert ran.code == 0, ran.err
            assert "Database: the database has another timeline." in ran.out
            assert "25 that EPAY has: queued, now succeeded" in ran.out
            assert {world.ask(no)["status"] for no in LATE[5:]} == {"unknown"}
            world.sql("UPDATE payout SET due_at = now() WHERE due_at IS NOT NULL")
            tick(world)
            ends = world.sql("SELECT status, count(*) AS n FROM payout GROUP BY status")
            assert [(row.status, row.n) for row in ends] == [("succeeded", 30)]
            assert (totals()["payments"], totals()["paid_twice"]) == (30, 0)
            engine.dispose()
