"""What the database itself holds, whoever writes."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from shared.storage import migrate
from shared.storage.payout_store import PayoutStore
from shared.storage.tables import metadata
from tests.support.stored_payouts import accepted, succeeded


def test_the_migrated_schema_is_the_models_schema(engine: Engine) -> None:
    """Alembic finds no difference between the migrations and the tables in the code."""
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert migrate.current(engine) == migrate.newest()


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    """`payouts migrate` can be run again."""
    assert migrate.upgrade(database_url) == (migrate.newest(), migrate.newest())


@pytest.mark.parametrize(
    "change",
    [
        "amount = 0",
        "amount = -1",
        "status = 'paid'",
        "due_at = NULL",
        "status = 'succeeded', finished_at = now()",
        "status = 'succeeded', due_at = NULL",
        "claim_id = NULL",
        "sequence = 0",
        "review_reason = 'overdue: x'",
    ],
)
def test_the_database_refuses_what_must_not_be(store: PayoutStore, change: str) -> None:
    """Each invariant is a constraint, whoever writes."""
    accepted(store)
    with pytest.raises(IntegrityError), store.engine.begin() as connection:
        connection.execute(text(f"UPDATE payout SET {change}"))


def test_final_is_final_in_the_database_too(store: PayoutStore) -> None:
    """Law 5 holds against plain SQL."""
    store.apply(succeeded(accepted(store)))
    with pytest.raises(IntegrityError, match="final is final"), store.engine.begin() as connection:
        connection.execute(
            text("UPDATE payout SET status = 'queued', due_at = now(), finished_at = NULL")
        )


@pytest.mark.parametrize(
    "statement",
    ["UPDATE payout_event SET actor = 'x'", "DELETE FROM payout_event", "TRUNCATE payout_event"],
)
def test_the_journal_is_append_only(store: PayoutStore, statement: str) -> None:
    """Events are neither changed nor removed (law 7)."""
    accepted(store)
    with pytest.raises(IntegrityError, match="append-only"), store.engine.begin() as connection:
        connection.execute(text(statement))
