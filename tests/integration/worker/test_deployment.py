"""Law 11: the database may go back in time: witness, identity and high-water mark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from devstack.databases import PostgresServer
from ops.commands.enqueue import enqueue
from ops.errors import UserError
from shared.config.settings import Settings, SettingsError
from shared.domain.payout import Status
from shared.messaging.owner import HIGH_WATER, REBUILD_BELOW, DeploymentMarks
from shared.producer import Producer
from shared.redis_client import RedisClient
from shared.storage import deployment, pauses
from shared.storage.engine import make_engine
from shared.storage.pauses import DATABASE_CHANGED, NotPaused, Scope
from shared.storage.payout_store import PayoutStore
from tests.integration.conftest import ACCOUNT, MakeWorld, World
from tests.support.databases import unique_name
from tests.support.deployment import PausesOnly, Watched, owner
from tests.support.jobs import claim_id, deliver, kinds, of_ledger, put_queued, put_unknown, tick
from webhook import create_app
from worker.deployment import DatabaseWatch
from worker.jobs.submit import submit
from worker.send_guard.permit import CheckResult, Reject


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


Back = Callable[[], Watched]


@pytest.fixture
def backup(watched: Watched, postgres: PostgresServer, database_url: str) -> Iterator[Back]:
    """Copy the database now; the function goes back to the copy, which has another identity."""
    watched.world.engine.dispose()
    name = unique_name("payouts_backup")
    url = postgres.create_database(name, psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])
    engine = make_engine(url, pool_size=10)

    def back() -> Watched:
        store = PayoutStore(engine)
        world = replace(
            watched.world, engine=engine, context=replace(watched.world.context, store=store)
        )
        watch = DatabaseWatch(engine, watched.redis, owner)
        return Watched(world, watch, watched.redis)

    yield back
    engine.dispose()
    postgres.drop_database(name)


def accept_as_it_is(found: Watched) -> None:
    """As if the database had the identity that its row names: only the witness is left."""
    with found.world.engine.begin() as connection:
        deployment.repin(connection, 10**6, found.world.context.clock() - timedelta(days=1))


def send(found: Watched, order_no: str) -> None:
    submit(found.world.context, found.world.row(order_no).id, None, claim_id())


def test_a_send_that_the_database_forgot_is_asked_about(watched: Watched, backup: Back) -> None:
    """Queued in the backup, sent after it: unknown, and the query finds it paid."""
    # the fixture's copy was made before any payout: here the app asks a second time
    assert watched.world.ask()["status"] == "processing"
    restored = backup()
    accept_as_it_is(restored)

    assert restored.world.ask()["status"] == "unknown"

    row = restored.world.row()
    assert kinds(restored.world) == ["accepted", "sent_before"]
    assert row.first_sent_at is not None
    assert row.first_sent_at <= row.created_at
    tick(restored.world)
    assert restored.world.row().status in {Status.PROCESSING, Status.SUCCEEDED}
    assert of_ledger(restored.world)["creates_received"] == 1


def test_an_amount_limit_does_not_end_a_send_that_the_database_forgot(
    watched: Watched, backup: Back
) -> None:
    """EPAY paid it before its limit changed: it is asked about, not rejected."""
    assert watched.world.ask()["status"] == "processing"
    restored = backup()
    accept_as_it_is(restored)
    limit_amounts(restored)

    assert restored.world.ask()["status"] == "unknown"

    assert kinds(restored.world) == ["accepted", "submitting", "sent_before"]
    tick(restored.world)
    assert restored.world.row().status in {Status.PROCESSING, Status.SUCCEEDED}
    assert of_ledger(restored.world)["creates_received"] == 1


def test_an_amount_limit_ends_what_was_claimed_and_never_sent(watched: Watched) -> None:
    """The mark is there, but the journal has its claim, and that nothing was sent."""
    (payout,) = put_queued(watched.world, "order-1")
    submit(replace(watched.world.context, gateway=Refusing()), payout.id, None, claim_id())
    assert watched.redis.client.exists(f"payouts:sent:{ACCOUNT}:order-1")
    limit_amounts(watched)

    send(watched, "order-1")

    assert watched.world.row().status is Status.REJECTED
    assert of_ledger(watched.world)["creates_received"] == 0


class LimitsAmounts(PausesOnly):
    """EPAY's own limit excludes every amount."""

    def check(self, payout: Any, *, max_wait: timedelta) -> CheckResult:
        return Reject("EPAY's limit is 100 to 500 USD")


def limit_amounts(found: Watched) -> None:
    guard = LimitsAmounts(found.watch)
    found.world.context = replace(found.world.context, send_guard=guard)


def test_what_the_database_remembers_is_sent_again(watched: Watched) -> None:
    """A second attempt under law 2: the journal has the claim of the mark."""
    (payout,) = put_queued(watched.world, "order-1")
    first = replace(watched.world.context, gateway=Refusing())
    submit(first, payout.id, None, claim_id())
    assert watched.world.row().status is Status.QUEUED

    send(watched, "order-1")

    assert "sent_before" not in kinds(watched.world)
    assert of_ledger(watched.world)["creates_received"] == 1


class Refusing:
    """A gateway whose port is closed."""

    def create(self, _order: Any, **_: Any) -> Any:
        from shared.domain.gateway import NeverSent

        return NeverSent("connection refused")


def test_a_mark_that_was_written_twice_proves_nothing(watched: Watched) -> None:
    """The reply of the first write was lost, and with it what was there before."""
    put_queued(watched.world, "order-1")
    first = watched.world.context.witness
    watched.world.context = replace(
        watched.world.context, witness=lambda claimed: (first(claimed), first(claimed))[1]
    )
    send(watched, "order-1")
    assert kinds(watched.world)[-1] == "sent_before"
    assert of_ledger(watched.world)["creates_received"] == 0


def test_redis_away_is_no_proof(watched: Watched) -> None:
    """Then the identity decides, and it is right here."""
    watched.redis._retry_at = float("inf")
    assert watched.world.ask()["status"] == "processing"


def test_a_copy_of_the_database_sends_nothing(watched: Watched, backup: Back) -> None:
    """Another database oid; found before the first create, and `resume` does not lift it."""
    restored = backup()
    assert restored.world.ask()["status"] == "queued"
    assert restored.active() == [DATABASE_CHANGED]
    now = restored.world.context.clock()
    with pytest.raises(NotPaused):
        pauses.resume(restored.world.engine, Scope(), "Ann", "go on", now)
    tick(restored.world)
    tick(restored.world)
    assert restored.active() == [DATABASE_CHANGED]
    assert restored.world.row().status is Status.QUEUED
    assert of_ledger(restored.world)["creates_received"] == 0


def test_rows_restored_into_the_same_database_are_noticed(watched: Watched) -> None:
    """The row was written by another transaction than it names, whatever else is equal."""
    watched.world.sql("CREATE TABLE dump AS SELECT * FROM payout_deployment")
    watched.world.sql("DELETE FROM payout_deployment")
    watched.world.sql("INSERT INTO payout_deployment SELECT * FROM dump")
    tick(watched.world)
    assert watched.active() == [DATABASE_CHANGED]


@pytest.mark.parametrize("column", ["server", "timeline"])
def test_another_server_or_timeline(watched: Watched, column: str) -> None:
    """A restore to another cluster, and a promotion."""
    watched.world.sql(
        f"UPDATE payout_deployment SET {column} = 'other', written_by = txid_current() % 4294967296"
    )
    watched.watch.start()
    (pause,) = pauses.active(watched.world.engine)
    assert pause.code == DATABASE_CHANGED
    assert f"another {column}" in pause.reason


def test_a_database_that_lost_commits_is_noticed(watched: Watched) -> None:
    """Nothing but the counter differs: a crash without synchronous commits, a disk's snapshot."""
    for _ in range(3):
        tick(watched.world)
    assert watched.known()[HIGH_WATER] == "3"
    assert watched.active() == []
    watched.world.sql(
        "UPDATE payout_deployment SET high_water = 1, written_by = txid_current() % 4294967296"
    )
    tick(watched.world)
    assert watched.active() == [DATABASE_CHANGED]
    (pause,) = pauses.active(watched.world.engine)
    assert "the database counts 2 sweeps, and Redis remembers 3" in pause.reason


def test_an_emptied_redis_stops_nothing(watched: Watched) -> None:
    """Its marks are written anew from the database, and what is open is asked about."""
    world = watched.world
    world.ask("sent")
    put_unknown(world, "open")
    world.sql("UPDATE payout SET due_at = now() + interval '1 day' WHERE due_at IS NOT NULL")
    tick(world)
    watched.redis.client.flushdb()
    for _ in range(3):
        tick(world)
    assert watched.active() == []
    assert REBUILD_BELOW not in watched.known()
    assert int(watched.known()[HIGH_WATER]) == 4
    for order_no in ("sent", "open"):
        mark = watched.redis.client.get(f"payouts:sent:{ACCOUNT}:{order_no}")
        assert str(mark).startswith("0:")
        assert watched.redis.client.ttl(f"payouts:sent:{ACCOUNT}:{order_no}") > 7 * 86400
    soon = world.sql("SELECT max(due_at) < now() + interval '2 minutes' AS soon FROM payout")
    assert soon[0].soon


def test_redis_emptied_during_a_sweep_is_noticed_by_the_next(watched: Watched) -> None:
    """The mark of that sweep does not make an emptied Redis look complete."""
    marks = DeploymentMarks(watched.redis)
    for write in (lambda: marks.raise_high_water(7), lambda: marks.note_rebuilt("9", 7)):
        watched.redis.client.flushdb()
        write()
        assert watched.known() == {}


def test_marks_written_anew_are_witnesses(watched: Watched, backup: Back) -> None:
    """Redis emptied and filled from the database, which then goes back."""
    watched.world.ask()
    tick(watched.world)
    watched.redis.client.flushdb()
    for _ in range(3):
        tick(watched.world)
    restored = backup()
    accept_as_it_is(restored)
    assert restored.world.ask()["status"] == "unknown"


def test_another_deployment_on_the_same_redis(
    watched: Watched, make_world: MakeWorld, empty_database_url: str
) -> None:
    """F2: another account, another gateway, another database."""
    engine = watched.world.engine
    for changed in ("account", "gateway", "database"):
        claimed = owner("another") | ({} if changed == "database" else {changed: "x"})
        problem = DatabaseWatch(engine, watched.redis, lambda _, one=claimed: one).start()
        assert problem is not None
        if changed == "database":
            assert "payouts recover" in problem
        else:
            assert "belongs to another deployment" in problem
            assert "delete the key payouts:deployment" in problem


def test_new_settings_of_the_same_deployment(watched: Watched) -> None:
    """The account or the gateway changed: law 10 judges each payout, and the mark follows."""
    changed = owner(watched.known()["database"]) | {"account": "new@example.com"}
    assert DatabaseWatch(watched.world.engine, watched.redis, lambda _: changed).start() is None
    assert watched.known()["account"] == "new@example.com"


def test_first_ask_after_a_recovery(watched: Watched) -> None:
    """An order that the database has never seen is asked about before it is sent, once."""
    world = watched.world
    with world.engine.begin() as connection:
        deployment.repin(connection, 0, world.context.clock() + timedelta(hours=1))
    assert world.ask()["status"] == "unknown"
    assert kinds(world) == ["accepted", "asked_first"]
    world.sql("UPDATE payout SET status = 'queued', due_at = now()")
    send(watched, "order-1")
    assert of_ledger(world)["creates_received"] == 1


def test_the_ask_first_time_ends(watched: Watched) -> None:
    world = watched.world
    with world.engine.begin() as connection:
        deployment.repin(connection, 0, world.context.clock() - timedelta(seconds=1))
    assert world.ask()["status"] == "processing"
    deliver(world)


@pytest.mark.parametrize("who", ["webhook", "producer", "enqueue"])
def test_another_deployments_redis_is_refused(
    watched: Watched,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    who: str,
) -> None:
    """F2: by every process that puts messages on the broker, in words."""
    made = Settings(
        _env_file=None,
        redis_url=redis_url,
        epay_account="staging@example.com",
        epay_api_key=SecretStr("x"),
        epay_base_url="http://127.0.0.1:1/capi/openapi",
    )
    with ExitStack() as stack:
        if who == "webhook":
            stack.enter_context(pytest.raises(SystemExit))
            monkeypatch.setattr("webhook.app._WORKER_START_SECONDS", 0.0)
            create_app(made)
        elif who == "producer":
            refused = stack.enter_context(pytest.raises(SettingsError))
            Producer.from_settings(made)
        else:
            refused = stack.enter_context(pytest.raises(UserError))
            monkeypatch.setattr("ops.commands.enqueue.load", lambda: made)
            enqueue("no-1", "10.50", "USD", "11", "0071234")
    said = capsys.readouterr().err if who == "webhook" else str(refused.value)
    assert "belongs to another deployment: account test2020@epay.com at 127.0.0.1" in said
    assert "works for account staging@example.com" in said
    assert watched.redis.client.llen("payouts") == 0
