"""The database for one command, with its errors in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from ops.errors import UserError
from shared.config.builders import build_cipher
from shared.config.settings import Settings
from shared.storage import deployment
from shared.storage.engine import make_engine
from shared.storage.queries import PayoutDetail, find_details


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """An engine for one command.

    Raises:
        SettingsError: DATABASE_URL is missing.
        UserError: a statement failed.
    """
    with open_database(settings.need("database_url").database_url) as engine:
        yield engine


@contextmanager
def open_database(url: str, *, statement_timeout_seconds: int = 15) -> Iterator[Engine]:
    """An engine for the database at `url`.

    Raises:
        UserError: a statement failed.
    """
    # the default prints on stdout, among the answers
    structlog.reset_defaults()
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    engine = make_engine(url, pool_size=1, statement_timeout_seconds=statement_timeout_seconds)
    try:
        yield engine
    except SQLAlchemyError as error:
        raise _in_words(error) from error
    finally:
        engine.dispose()


def token_of(engine: Engine | None) -> str:
    """The token of the database's deployment; empty if it cannot be read, or there is none yet."""
    try:
        found = None if engine is None else deployment.find(engine)
    except SQLAlchemyError:
        return ""
    return "" if found is None else found.token


def find(
    settings: Settings, engine: Engine, merchant_order_no: str, epay_account: str | None
) -> list[PayoutDetail]:
    """The payouts of an order number, one for each EPAY account that has it.

    Raises:
        UserError: there is none.
    """
    found = find_details(engine, build_cipher(settings), merchant_order_no, epay_account)
    if not found:
        raise UserError(
            f"there is no payout {merchant_order_no}. If it was requested a moment ago, it may"
            " still wait in the queue; if it was refused as invalid, `payouts list --refused` says"
            " why."
        )
    return found


def _in_words(error: SQLAlchemyError) -> UserError:
    if isinstance(error, ProgrammingError):
        return UserError(
            "the database does not have the tables of this version: run `payouts migrate`"
        )
    reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    return UserError(f"the database could not be read at DATABASE_URL: {reason}")
