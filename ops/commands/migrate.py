"""`payouts migrate`: update the database to the schema of this version."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from ops.console import say
from ops.errors import UserError
from shared.config.settings import load
from shared.storage import migrate as migrations


def migrate() -> None:
    """Create or update the tables in DATABASE_URL. Safe to repeat, and while workers run."""
    settings = load().need("database_url")
    try:
        before, after = migrations.upgrade(settings.database_url)
    except SQLAlchemyError as error:
        raise UserError(f"the database could not be migrated: {error}") from error
    if before == after:
        say(f"The database is up to date (schema {after}).")
    else:
        say(f"The database was updated from schema {before or 'none'} to {after}.")
