"""`payouts recover`: the database went back to a dump, and nothing is paid twice (law 11)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from devstack.binaries import postgres_program
from devstack.databases import PostgresServer
from devstack.wait import wait_for
from shared.redis_client import RedisClient
from shared.storage import deployment, pauses
from shared.storage.pauses import DATABASE_CHANGED
from tests.integration.conftest import ACCOUNT, API_KEY, NOT_FOUND, MakeWorld, World
from tests.support.deployment import Watched, owner
from tests.support.jobs import claim_id, kinds, put_control, put_queued, tick
from worker.deployment import DatabaseWatch
from worker.jobs.submit import submit

WHO = ("--name", "Ann", "--reason", "restored the dump")
QUEUED = [f"queued-{n}" for n in range(200)]
OPEN = [f"open-{n}" for n in range(200)]
LATE = [f"late-{n}" for n in range(100)]
NEW = ["new-1", "new-2"]


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[RedisClient]:
    client = RedisClient(redis_url)
    yield client
    client.close()


@pytest.fixture
def worker(make_world: MakeWorld, redis_client: RedisClient) -> Watched:
    world = make_world(visibility_delay=timedelta(seconds=1), query_backoff=(0,))
    found = Watched(world, DatabaseWatch(world.engine, redis_client, owner), redis_client)
    assert found.watch.start() is None
    return found


@pytest.fixture
def env(worker: Watched, database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EPAY_BASE_URL": worker.world.gateway.base_url,
        "EPAY_ACCOUNT": ACCOUNT,
        "EPAY_API_KEY": API_KEY,
        "EPAY_NOT_FOUND_CODES": NOT_FOUND,
        "EPAY_SETTLE_SECONDS": "30",
    }


@pytest.fixture
def dump(
    worker: Watched, postgres: PostgresServer, database_url: str, tmp_path: Path
) -> Callable[[], Callable[[], Watched]]:
    """Dump the database; the function that it gives restores the dump, as a person would."""
    file = str(tmp_path / "dump")

    def run(program: str, *arguments: str) -> None:
        path = str(postgres_program().with_name(program))
        subprocess.run([path, *arguments], check=True, timeout=120)

    def restore() -> Watched:
        worker.world.engine.dispose()
        name = database_url.rpartition("/")[2].partition("?")[0]
        postgres.drop_database(name)
        postgres.create_database(name)
        run("pg_restore", "-d", database_url, file)
        watch = DatabaseWatch(worker.world.engine, worker.redis, owner)
        assert watch.start() is None
        return Watched(worker.world, watch, worker.redis)

    def make() -> Callable[[], Watched]:
        run("pg_dump", "-Fc", "-f", file, database_url)
        return restore

    return make


def ask_for(world: World, order_nos: Iterable[str]) -> list[str]:
    return [str(world.ask(no)["status"]) for no in order_nos]


def until_final(world: World, order_nos: list[str]) -> None:
    """Tick until the payouts have ended: they are queried, or sent once their absence is proven."""

    def ended() -> bool:
        world.sql("UPDATE payout SET due_at = now() WHERE due_at > now()")
        world.context = replace(world.context, sweep_batch=1000)
        tick(world)
        found = world.sql("SELECT merchant_order_no FROM payout WHERE finished_at IS NOT NULL")
        return set(order_nos) <= {row.merchant_order_no for row in found}

    wait_for(ended, 60, "all payouts to end")


@pytest.mark.parametrize("redis_emptied", [False, True])
def test_backup_and_restore(
    worker: Watched,
    dump: Callable[[], Callable[[], Watched]],
    payouts: Any,
    env: dict[str, str],
    redis_emptied: bool,
) -> None:
    """200 queued and 200 open in the dump; all paid, 100 more paid, all asked for again."""
    world, gateway = worker.world, worker.world.gateway
    put_queued(world, *QUEUED)
    ask_for(world, OPEN)
    restore = dump()
    for no in QUEUED:
        submit(world.context, world.row(no).id, None, claim_id())
    ask_for(world, LATE)
    wait_for(lambda: gateway.ledger()["totals"]["payments"] == 500, 60, "all to be paid")
    if redis_emptied:
        worker.redis.client.flushdb()

    world = restore().world
    again, unseen = [*QUEUED, *OPEN, *LATE[:50]], [*LATE[50:], *NEW]
    assert set(ask_for(world, again)) <= {"queued", "processing"}
    assert [pause.code for pause in pauses.active(world.engine)] == [DATABASE_CHANGED]
    assert payouts("resume", *WHO, **env).code == 2

    ran = payouts("recover", *WHO, **env)

    assert ran.code == 0, ran.err
    assert "Database: the database has another database." in ran.out
    assert ("Redis: was emptied" in ran.out) is False  # the worker's start has claimed it anew
    assert "Asked EPAY about 450 payouts:" in ran.out
    assert "250 that EPAY has: queued, now succeeded" in ran.out
    assert "200 that EPAY has: processing, now succeeded" in ran.out
    assert "forgotten by this database: queued-0, queued-1" in ran.out
    assert "and 230 more" in ran.out
    assert pauses.active(world.engine) == []
    assert set(ask_for(world, unseen)) == {"unknown"}
    kind = "asked_first" if redis_emptied else "sent_before"
    assert kinds(world, LATE[50])[-1] == kind
    assert kinds(world, NEW[0])[-1] == "asked_first"
    until_final(world, [*again, *unseen])
    ledger = wait_for(
        lambda: (
            all(gateway.ledger()["orders"].get(no, {}).get("payments") for no in NEW)
            and gateway.ledger()
        ),
        60,
        "the new ones to be paid",
    )
    assert ledger["totals"]["paid_twice"] == 0
    assert ledger["totals"]["payments"] == 502
    ends = world.sql("SELECT status, count(*) AS n FROM payout GROUP BY status")
    assert [(row.status, row.n) for row in ends] == [("succeeded", 502)]


def test_interrupted_it_stays_paused_and_begins_anew(
    worker: Watched, payouts: Any, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C says how far it came; the next run goes to the end."""
    put_queued(worker.world, "order-1")
    with monkeypatch.context() as patch:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("ops.recovery.Recovery.ask", interrupt)
        ran = payouts("recover", *WHO, **env)
    assert ran.code == 1
    assert "Interrupted: sending stays paused." in ran.out
    assert [pause.code for pause in pauses.active(worker.world.engine)] == [DATABASE_CHANGED]
    ran = payouts("recover", *WHO, **env)
    assert ran.code == 0
    assert "1 queued: EPAY refuses it; with no payout yet that EPAY ended, this proves" in ran.out
    assert pauses.active(worker.world.engine) == []


def test_without_epay_nothing_is_lifted(worker: Watched, payouts: Any, env: dict[str, str]) -> None:
    """Nobody answered: what was sent is not known."""
    put_queued(worker.world, "order-1")
    ran = payouts("recover", *WHO, **env | {"EPAY_BASE_URL": "http://127.0.0.1:1/capi/openapi"})
    assert ran.code == 2
    assert "EPAY does not answer: sending stays paused" in ran.err
    assert [pause.code for pause in pauses.active(worker.world.engine)] == [DATABASE_CHANGED]


def test_another_deployments_redis(worker: Watched, payouts: Any, env: dict[str, str]) -> None:
    """F2: it would lift the pause of others."""
    ran = payouts("recover", *WHO, **env | {"EPAY_ACCOUNT": "staging@example.com"})
    assert ran.code == 2
    assert "belongs to another deployment" in ran.err


def test_a_person_rejects_no_payout_that_may_have_been_sent(
    worker: Watched, payouts: Any, env: dict[str, str]
) -> None:
    """Queued and never sent, says a database that forgets: EPAY's answer is needed (law 11)."""
    away = env | {"EPAY_BASE_URL": "http://127.0.0.1:1/capi/openapi"}
    put_control(worker.world)
    put_queued(worker.world, "order-1")
    reject = ("resolve", "order-1", "reject", *WHO, "--yes")
    deployment.pause_sending(worker.world.engine, "another timeline", worker.world.context.clock())
    ran = payouts(*reject, **away)
    assert ran.code == 3
    assert "EPAY could not be queried" in ran.err
    assert payouts("recover", *WHO, **env).code == 0
    assert payouts(*reject, **away).code == 3
    assert payouts(*reject, **env).code == 0
