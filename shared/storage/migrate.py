"""Migration of a database to the schema that this code needs."""

from __future__ import annotations

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from shared.storage.engine import make_engine

_LOCK = 0x65706179
"""Advisory lock: one migration runs at a time ("epay" in ASCII)."""
_LOCK_RETRY_SECONDS = 0.2
_LOCK_TIMEOUT = "10s"
"""Of what locks a table: everything waits behind it. `migrations.indexes` has no timeout."""


def upgrade(database_url: str) -> tuple[str | None, str]:
    """Migrate to the newest schema. Idempotent; concurrent calls wait for each other.

    Returns:
        The revision before (None for an empty database) and after.
    """
    engine = make_engine(database_url, pool_size=1, statement_timeout_seconds=0)
    try:
        with engine.connect() as connection:
            _acquire_lock(connection)
            connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
            connection.commit()
            before = _current(connection)
            connection.commit()
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()
            return before, newest()
    finally:
        engine.dispose()


def _acquire_lock(connection: Connection) -> None:
    """Wait outside of a transaction, because CREATE INDEX CONCURRENTLY waits for open ones."""
    while not connection.execute(
        text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}
    ).scalar():
        connection.commit()
        time.sleep(_LOCK_RETRY_SECONDS)
    connection.commit()


def current(engine: Engine) -> str | None:
    """The revision of the database; None if it is empty."""
    with engine.connect() as connection:
        return _current(connection)


def has(revision: str | None) -> bool:
    """Whether the revision is the one that this code needs.

    Raises:
        alembic.util.CommandError: the revision is unknown, so newer than this code.
    """
    if revision is not None:
        ScriptDirectory.from_config(_config()).get_revision(revision)
    return revision == newest()


def newest() -> str:
    """The revision that this code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("no migrations found")
    return head


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
