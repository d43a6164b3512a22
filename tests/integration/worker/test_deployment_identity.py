"""Law 11: a vanished record of the deployment, and automatic pauses that are set at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from shared.messaging.owner import HIGH_WATER
from shared.redis_client import RedisClient
from shared.storage import deployment, pauses
from shared.storage.deployment import Deployment
from shared.storage.pauses import DATABASE_CHANGED
from tests.integration.conftest import World
from tests.support.deployment import Watched, owner
from tests.support.jobs import of_ledger, put_queued, tick
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
    return found


def lose_the_record(found: Watched) -> None:
    """As a backup of before the table, or a restore that is under way."""
    found.world.sql("DELETE FROM payout_deployment")


def test_without_its_record_the_database_is_another_one(watched: Watched) -> None:
    """Noticed before the first create; no mark of the witness says that it was sent."""
    lose_the_record(watched)
    assert watched.world.ask()["status"] == "queued"
    assert watched.active() == [DATABASE_CHANGED]
    assert of_ledger(watched.world)["creates_received"] == 0


def test_a_sweep_notices_that_the_record_is_gone(watched: Watched) -> None:
    lose_the_record(watched)
    put_queued(watched.world, "order-1")
    watched.watch.sweep(watched.world.context.witness, watched.world.context.clock())  # type: ignore[arg-type]
    (pause,) = pauses.active(watched.world.engine)
    assert pause.code == DATABASE_CHANGED
    assert "no record of this deployment" in pause.reason


def test_a_worker_makes_no_record_that_hides_the_loss(watched: Watched) -> None:
    """Redis names the database of before: the worker does not start, the others go on noticing."""
    lose_the_record(watched)
    problem = DatabaseWatch(watched.world.engine, watched.redis, owner).start()
    assert problem is not None
    assert "payouts recover" in problem
    assert deployment.find(watched.world.engine) is None
    assert watched.world.ask()["status"] == "queued"
    assert watched.active() == [DATABASE_CHANGED]


def test_without_a_record_an_order_is_asked_about_first(watched: Watched) -> None:
    """A create that was checked before the record vanished."""
    (payout,) = put_queued(watched.world, "order-1")
    lose_the_record(watched)
    watched.watch._current = None
    doubt = watched.world.context.witness(payout)
    assert doubt is not None


def test_without_a_record_nobody_knows_what_was_sent(watched: Watched) -> None:
    """A person's reject then needs EPAY's answer."""
    now = watched.world.context.clock()
    assert not deployment.may_have_forgotten(watched.world.engine, now)
    lose_the_record(watched)
    assert deployment.may_have_forgotten(watched.world.engine, now)


def test_a_sweep_of_another_worker_during_the_start(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises both marks between our two reads: that is no loss of commits."""
    pin = deployment.pin

    def pin_and_sweep(engine: Any) -> Deployment:
        found = pin(engine)
        tick(watched.world)
        return found

    monkeypatch.setattr(deployment, "pin", pin_and_sweep)
    assert DatabaseWatch(watched.world.engine, watched.redis, owner).start() is None
    assert watched.known()[HIGH_WATER] == "1"
    assert watched.active() == []


def test_many_threads_set_one_pause(watched: Watched) -> None:
    """Also on an engine in autocommit mode, where a lock of a transaction holds nothing."""
    engine = watched.world.engine.execution_options(isolation_level="AUTOCOMMIT")
    now, start = watched.world.context.clock(), Barrier(8)

    def pause(_nth: int) -> int:
        start.wait(10)
        return deployment.pause_sending(engine, "another timeline", now).id

    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(pause, range(8)))) == 1
        assert watched.active() == [DATABASE_CHANGED]
        with engine.begin() as connection:
            pauses.lift_all(connection, "Ann", "recovered", now, DATABASE_CHANGED)
        assert watched.active() == []
