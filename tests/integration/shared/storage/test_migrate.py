"""A migration that was interrupted is run again, and leaves no invalid index behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from devstack.wait import wait_for
from shared.storage import migrate
from shared.storage.engine import make_engine

INDEXES = [
    ("0001", "0002", "payout_sent_idx"),
    ("0003", "0004", "payout_order_idx"),
    ("0005", "0007", "payout_finished_idx"),
    ("0007", "0008", "payout_open_idx"),
    ("0008", "0009", "payout_alike_idx"),
]
_WAITING = text(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'CREATE%CONCURRENTLY%' AND wait_event_type = 'Lock'"
)
_IS_VALID = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


@pytest.fixture
def bare(empty_database_url: str) -> Iterator[Engine]:
    """The engine of a database without tables."""
    engine = make_engine(empty_database_url, pool_size=3)
    yield engine
    engine.dispose()


def upgrade_to(revision: str, url: str, patch: pytest.MonkeyPatch) -> None:
    """`migrate.upgrade`, with the code of that revision."""
    upgrade = command.upgrade
    with patch.context() as patched:
        patched.setattr(command, "upgrade", lambda config, _head: upgrade(config, revision))
        migrate.upgrade(url)


@contextmanager
def held_transaction(engine: Engine) -> Iterator[Connection]:
    """An open transaction of another program, whose snapshot an index has to wait for."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("SELECT 1"))
        yield connection


def until_it_waits(engine: Engine, running: Future[Any]) -> int:
    """The process of the migration that waits for the held transaction."""

    def waiting() -> Any:
        assert not running.done(), running.exception()
        with engine.connect() as connection:
            return connection.execute(_WAITING).scalar()

    return int(wait_for(waiting, 60, "the migration to wait"))


def is_valid(engine: Engine, name: str) -> bool | None:
    with engine.connect() as connection:
        return connection.execute(_IS_VALID, {"name": name}).scalar()


@pytest.mark.parametrize(("before", "after", "index"), INDEXES)
def test_an_interrupted_migration_is_run_again(
    bare: Engine,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
    index: str,
) -> None:
    """What it did before the index is committed, and the index is there, but invalid."""
    upgrade_to(before, empty_database_url, monkeypatch)
    with held_transaction(bare), ThreadPoolExecutor(1) as pool:
        running = pool.submit(upgrade_to, after, empty_database_url, monkeypatch)
        process = until_it_waits(bare, running)
        with bare.connect() as connection:
            connection.execute(text("SELECT pg_cancel_backend(:pid)"), {"pid": process})
        with pytest.raises(OperationalError):
            running.result(timeout=60)
    assert is_valid(bare, index) is False
    assert migrate.current(bare) == before
    upgrade_to(after, empty_database_url, monkeypatch)
    assert is_valid(bare, index) is True
    assert migrate.current(bare) == after
    assert migrate.upgrade(empty_database_url) == (after, migrate.newest())


def test_an_index_outlasts_the_lock_timeout(
    bare: Engine, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for an open transaction, while nothing waits behind it; the next table does not."""
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "200ms")
    upgrade_to("0008", empty_database_url, monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        with held_transaction(bare):
            running = pool.submit(migrate.upgrade, empty_database_url)
            until_it_waits(bare, running)
            threading.Event().wait(1.0)
            assert not running.done()
        assert running.result(timeout=60) == ("0008", migrate.newest())


def test_what_locks_a_table_does_not_wait_for_long(
    bare: Engine, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Payouts would wait behind it. It changes nothing, and runs through later."""
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "200ms")
    upgrade_to("0003", empty_database_url, monkeypatch)
    with held_transaction(bare) as other:
        other.execute(text("SELECT count(*) FROM payout"))
        with pytest.raises(OperationalError):
            migrate.upgrade(empty_database_url)
    assert migrate.upgrade(empty_database_url) == ("0003", migrate.newest())
