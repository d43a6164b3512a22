"""`shared.producer`: the row is the app's own transaction, and the hint never comes before it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlmodel import Session as SQLModelSession

from devstack.wait import wait_for
from shared.config.settings import Settings
from shared.contract import InvalidRequest
from shared.domain import lifecycle
from shared.domain.accounts import ConfiguredAccounts
from shared.producer import Conflict, Producer
from shared.storage.encryption import AccountCipher, new_key
from shared.storage.payout_store import PayoutStore
from tests.integration.conftest import World
from tests.support.factories import request_kwargs
from tests.support.jobs import ACCOUNT, claim_id, kinds, new, of_ledger, tick
from worker.jobs.submit import submit

ACCOUNTS = ConfiguredAccounts.one(ACCOUNT)


class Hints:
    """A broker that looks, at each hint, whether another connection sees the row."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seen: list[tuple[int, bool]] = []

    def __call__(self, payout_id: int) -> None:
        with self._engine.connect() as connection:
            found = connection.execute(
                text("SELECT count(*) FROM payout WHERE id = :id"), {"id": payout_id}
            ).scalar_one()
        self.seen.append((payout_id, found == 1))


@pytest.fixture
def hints(engine: Engine) -> Hints:
    return Hints(engine)


@pytest.fixture
def producer(hints: Hints) -> Producer:
    return Producer(accounts=ACCOUNTS, publish=hints)


@pytest.fixture
def shop(engine: Engine) -> Iterator[Engine]:
    """The app's engine, with a table of its own."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE shop_order (no text PRIMARY KEY)"))
    return engine


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@pytest.mark.parametrize("kind", [Session, SQLModelSession])
def test_row_and_order_are_one_commit(
    world: World, producer: Producer, hints: Hints, shop: Engine, kind: type[Session]
) -> None:
    """Nothing is to be seen before the commit; at it the row, and one hint, by which it is paid."""
    with kind(shop) as session:
        session.execute(text("INSERT INTO shop_order VALUES ('order-1')"))
        asked = producer.enqueue(session, **request_kwargs())
        assert asked == {"merchant_order_no": "order-1", "status": "queued", "duplicate": False}
        assert count(shop, "payout") == 0
        assert hints.seen == []
        session.commit()
        row = world.row()
        assert hints.seen == [(row.id, True)]
        session.commit()
    assert hints.seen == [(row.id, True)]
    assert row.due_at is not None
    assert row.due_at <= world.context.clock()
    assert submit(world.context, row.id, None, claim_id()) == "processing"
    assert of_ledger(world)["creates_received"] == 1
    assert kinds(world) == ["accepted", "submitting", "create_report"]


def test_a_scoped_session_gives_its_hint_too(
    producer: Producer, hints: Hints, shop: Engine
) -> None:
    """As Flask-SQLAlchemy's `db.session` is one."""
    session = scoped_session(sessionmaker(shop))
    producer.enqueue(session, **request_kwargs())
    assert hints.seen == []
    session.commit()
    session.remove()
    assert len(hints.seen) == 1


def test_a_rollback_leaves_nothing(producer: Producer, hints: Hints, shop: Engine) -> None:
    """Neither row nor hint, also when the same session goes on and commits other work."""
    with Session(shop) as session:
        producer.enqueue(session, **request_kwargs())
        session.rollback()
        session.execute(text("INSERT INTO shop_order VALUES ('other')"))
        session.commit()
    with Session(shop) as session:
        producer.enqueue(session, **request_kwargs())
    with shop.connect() as connection:
        producer.enqueue(connection, **request_kwargs())
    assert (count(shop, "payout"), count(shop, "payout_event"), hints.seen) == (0, 0, [])
    assert count(shop, "shop_order") == 1


def test_savepoints_are_no_commits(producer: Producer, hints: Hints, shop: Engine) -> None:
    """What is rolled back to a savepoint is not asked for; the rest is, when all is committed."""
    with Session(shop) as session:
        with session.begin_nested():
            producer.enqueue(session, **request_kwargs("kept"))
        assert hints.seen == []
        savepoint = session.begin_nested()
        producer.enqueue(session, **request_kwargs("undone"))
        savepoint.rollback()
        session.commit()
    assert count(shop, "payout") == 1
    assert [there for _, there in hints.seen if there] == [True]


def test_nested_savepoints_publish_once_at_the_end(
    producer: Producer, hints: Hints, shop: Engine
) -> None:
    """However deep the savepoint, its message is published by the commit of the transaction."""
    with Session(shop) as session, session.begin():
        with session.begin_nested():
            with session.begin_nested():
                producer.enqueue(session, **request_kwargs("inner"))
            producer.enqueue(session, **request_kwargs("outer"))
        assert hints.seen == []
    assert [there for _, there in hints.seen] == [True, True]


def test_a_closed_session_publishes_nothing_later(
    producer: Producer, hints: Hints, shop: Engine
) -> None:
    """`close()` rolls back; what the same session commits afterwards is other work."""
    session = Session(shop)
    producer.enqueue(session, **request_kwargs())
    session.close()
    session.execute(text("INSERT INTO shop_order VALUES ('other')"))
    session.commit()
    session.close()
    assert (count(shop, "payout"), hints.seen) == (0, [])


def test_a_connection_of_the_app_waits_for_the_sweep(
    world: World, producer: Producer, hints: Hints, shop: Engine
) -> None:
    """No message is published, neither at the commit nor later; the sweep submits the payouts."""
    with shop.begin() as connection:
        producer.enqueue(connection, **request_kwargs("order-1"))
        producer.enqueue(connection, **request_kwargs("order-2"))
    with shop.connect() as connection:
        producer.enqueue(connection, **request_kwargs("order-3"))
        connection.commit()
        connection.execute(text("SELECT 1"))
        producer.enqueue(connection, **request_kwargs("order-4"))
        connection.rollback()
    assert hints.seen == []
    assert tick(world)["submit"] == 3
    for number in ("order-1", "order-2", "order-3"):
        assert world.row(number).status == "processing"


def test_a_connection_that_breaks_tells_its_own_error(
    producer: Producer, hints: Hints, shop: Engine
) -> None:
    """PostgreSQL ends the connection in the middle: rolled back, no hint, and no error of ours."""
    with Session(shop) as session:
        producer.enqueue(session, **request_kwargs())
        pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with shop.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(Exception, match="terminat"):
            session.execute(text("SELECT 1"))
        session.rollback()
        producer.enqueue(session, **request_kwargs())
        session.commit()
    assert count(shop, "payout") == 1
    assert [there for _, there in hints.seen] == [True]


def test_without_any_hint_the_sweep_sends_it(world: World, shop: Engine) -> None:
    """A broker that is away is no error for the app."""

    def away(_payout_id: int) -> None:
        raise ConnectionError

    with Session(shop) as session:
        Producer(accounts=ACCOUNTS, publish=away).enqueue(session, **request_kwargs())
        session.commit()
    assert tick(world)["submit"] == 1
    assert world.row().status == "processing"


def test_asking_again_answers_with_todays_status(
    world: World, producer: Producer, hints: Hints, shop: Engine
) -> None:
    """In the same transaction, in the next, and when it is at EPAY: one row, one hint."""
    with Session(shop) as session:
        producer.enqueue(session, **request_kwargs())
        twice = producer.enqueue(session, **request_kwargs())
        session.commit()
        assert (twice["duplicate"], twice["status"]) == (True, "queued")
        tick(world)
        later = producer.enqueue(session, **request_kwargs() | {"amount": "10.5"})
        session.commit()
    assert (later["duplicate"], later["status"]) == (True, "processing")
    assert (count(shop, "payout"), len(hints.seen)) == (1, 1)
    assert world.ask()["duplicate"] is True


def test_a_conflict_names_fields_and_no_values(producer: Producer, shop: Engine) -> None:
    """And the app's transaction can go on: nothing of it is undone."""
    number = "41111810111111111111"
    with Session(shop) as session:
        producer.enqueue(session, **request_kwargs())
        session.commit()
        session.execute(text("INSERT INTO shop_order VALUES ('order-1')"))
        with pytest.raises(Conflict) as caught:
            producer.enqueue(
                session, **request_kwargs() | {"amount": "77.77", "account_no": number}
            )
        session.commit()
    assert "another amount, account_no" in str(caught.value)
    assert not any(value in str(caught.value) for value in (number, "77.77", "10.50"))
    assert (count(shop, "payout"), count(shop, "shop_order")) == (1, 1)


@pytest.mark.parametrize(
    "changes", [{"amount": 10.5}, {"ammount": "1"}, {"epay_account": "somebody@else.com"}]
)
def test_what_is_no_request_is_refused(
    producer: Producer, shop: Engine, changes: dict[str, Any]
) -> None:
    """At the call, before anything is written."""
    with Session(shop) as session:
        with pytest.raises(InvalidRequest):
            producer.enqueue(session, **request_kwargs() | changes)
        session.commit()
    assert count(shop, "payout") == 0


@pytest.mark.parametrize("again", ["88001", "000088001", "MAY-2", "may-2.0"])
def test_what_a_spreadsheet_made_of_a_known_number_is_refused(
    producer: Producer, hints: Hints, shop: Engine, again: str
) -> None:
    """It names the number that it is; the transaction goes on; the known number is a duplicate."""
    known = {"8": "0088001", "M": "May-2"}[again.strip("0")[0].upper()]
    with Session(shop) as session:
        producer.enqueue(session, **request_kwargs(known))
        session.execute(text("INSERT INTO shop_order VALUES ('order-1')"))
        with pytest.raises(InvalidRequest, match=f"of the earlier payout {known}, ") as caught:
            producer.enqueue(session, **request_kwargs(again))
        assert caught.value.error["code"] == "alike_order_no"
        assert "ALLOW_ALIKE=on" in caught.value.error["message"]
        assert producer.enqueue(session, **request_kwargs(known))["duplicate"] is True
        session.commit()
    assert (count(shop, "payout"), count(shop, "shop_order"), len(hints.seen)) == (1, 1, 1)


def test_an_app_that_means_both_numbers_can_have_them(hints: Hints, shop: Engine) -> None:
    """ALLOW_ALIKE=on; afterwards both are known, whatever the setting."""
    both = Producer(accounts=ACCOUNTS, publish=hints, allow_alike=True)
    with Session(shop) as session:
        for number in ("1", "01", "12345678901234500000"):
            assert both.enqueue(session, **request_kwargs(number))["duplicate"] is False
        session.commit()
        later = Producer(accounts=ACCOUNTS, publish=hints)
        assert later.enqueue(session, **request_kwargs("01"))["duplicate"] is True
        with pytest.raises(InvalidRequest, match="earlier payout 1, "):
            later.enqueue(session, **request_kwargs("001"))
    assert count(shop, "payout") == 3


def test_a_receipt_is_told_if_it_was_asked_for(producer: Producer, shop: Engine) -> None:
    """The outbox row is in the same commit."""
    notify = {"task": "shop.told", "queue": "shop", "on": ["accepted"]}
    with Session(shop) as session:
        producer.enqueue(session, **request_kwargs(), notify=notify)
        session.commit()
    assert count(shop, "payout_outbox") == 1


def test_with_a_key_no_account_number_is_in_the_database(engine: Engine, hints: Hints) -> None:
    """The settings' keys lock it, and a repetition is no conflict."""
    cipher = AccountCipher([new_key()])
    producer = Producer(accounts=ACCOUNTS, publish=hints, cipher=cipher)
    with Session(engine) as session:
        producer.enqueue(session, **request_kwargs())
        session.commit()
        assert producer.enqueue(session, **request_kwargs())["duplicate"] is True
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT account_no FROM payout")).scalar_one()
    assert stored.startswith("fernet:")
    found = PayoutStore(engine, cipher).find(ACCOUNT, "order-1")
    assert found is not None
    assert found.account_no == "U1234567890"


@pytest.mark.parametrize(("ends", "duplicate"), [("rollback", False), ("commit", True)])
def test_two_transactions_with_one_order_number(
    producer: Producer, hints: Hints, shop: Engine, ends: str, duplicate: bool
) -> None:
    """The second waits for the first, and is then its duplicate; or, if it undid all, the one."""

    def second() -> bool:
        with Session(shop) as session:
            asked = producer.enqueue(session, **request_kwargs())
            session.commit()
            return asked["duplicate"]

    with ThreadPoolExecutor(1) as pool, Session(shop) as session:
        producer.enqueue(session, **request_kwargs())
        answer = pool.submit(second)
        wait_for(lambda: waits(shop), 60, "the second to wait for the first")
        getattr(session, ends)()
        assert answer.result() is duplicate
    assert (count(shop, "payout"), count(shop, "payout_event"), len(hints.seen)) == (1, 1, 1)


def waits(engine: Engine) -> bool:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        return bool(found.scalar_one())


def test_one_order_twice_in_one_batch_is_one_payout(world: World) -> None:
    """`accept` of the same order number twice: the first counts, with one event and one receipt."""
    notify = {"task": "shop.told", "queue": "shop", "on": ["accepted"]}
    now = world.context.clock()
    steps = [
        lifecycle.accept_queued(new(world, no, nonce=nonce, notify=notify), now=now)
        for no, nonce in (("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5"))
    ]
    taken = world.context.store.insert(steps)
    assert [payout and payout.merchant_order_no for payout in taken] == ["a", "b", None, "c", None]
    for payout in taken:
        assert payout is None or world.row(payout.merchant_order_no) == payout
    assert [row.nonce for row in world.sql("SELECT nonce FROM payout ORDER BY id")] == [
        "1", "2", "4"
    ]  # fmt: skip
    assert [len(world.events(no)) for no in "abc"] == [1, 1, 1]
    assert len(world.sql("SELECT id FROM payout_outbox")) == 3
    assert world.context.store.insert([steps[0], steps[0]]) == [None, None]


def test_from_settings_the_hint_is_on_the_queue(
    shop: Engine, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker will read it."""
    settings = Settings(_env_file=None, epay_account=ACCOUNT, redis_url=redis_url)
    producer = Producer.from_settings(settings)
    threads = [threading.Thread(target=_ask, args=(producer, shop, nth)) for nth in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with redis.Redis.from_url(redis_url) as client:
        waiting = [json.loads(body) for body in client.lrange("payouts", 0, -1)]
    assert {message["headers"]["task"] for message in waiting} == {"payouts.submit"}
    assert len(waiting) == 4


def _ask(producer: Producer, engine: Engine, nth: int) -> None:
    with Session(engine) as session:
        producer.enqueue(session, **request_kwargs(f"order-{nth}"))
        session.commit()
