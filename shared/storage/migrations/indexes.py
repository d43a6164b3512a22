"""Indexes of a long table: made without a lock on it, and made anew after an interruption."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

_IS_INVALID = text(
    "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid"
)


def create_index(name: str, definition: str, *, unique: bool = False) -> None:
    """CREATE INDEX CONCURRENTLY; what the migration did before is committed and may run again.

    It waits for every transaction that is open, however long that takes: without a lock timeout,
    which would leave an invalid index behind. One of an interrupted run is dropped first.
    """
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        before = connection.execute(text("SHOW lock_timeout")).scalar_one()
        op.execute("SET lock_timeout = 0")
        if connection.execute(_IS_INVALID, {"name": name}).first():
            op.execute(f"DROP INDEX CONCURRENTLY {name}")
        kind = "UNIQUE INDEX" if unique else "INDEX"
        op.execute(f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON {definition}")
        op.execute(f"SET lock_timeout = '{before}'")
