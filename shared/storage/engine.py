"""The way to PostgreSQL: engines with bounded waits, and which errors mean "not now"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import Engine, PoolProxiedConnection, create_engine, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

_CONNECT_TIMEOUT_SECONDS = 5
_STATEMENT_TIMEOUT_SECONDS = 15
_CURSOR = "payouts.cursor"


def make_engine(
    database_url: str,
    *,
    pool_size: int = 10,
    statement_timeout_seconds: int = _STATEMENT_TIMEOUT_SECONDS,
) -> Engine:
    """An engine whose every wait ends: connecting, a statement, a lock, a forgotten transaction.

    Args:
        database_url: `postgresql://...`
        pool_size: connections at most; threads beyond wait for one.
        statement_timeout_seconds: 0 for none (migrations).
    """
    return _engine(database_url, pool_size, statement_timeout_seconds)


def make_autocommit_engine(database_url: str, *, pool_size: int = 10) -> Engine:
    """The same for statements that are transactions of their own: each is committed as it ends.

    `begin()` begins nothing here. A connection goes back to the pool as it is: there is nothing
    that would have to be rolled back.
    """
    return _engine(
        database_url,
        pool_size,
        _STATEMENT_TIMEOUT_SECONDS,
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
        skip_autocommit_rollback=True,
    )


def _engine(
    database_url: str, pool_size: int, statement_timeout_seconds: int, **more: Any
) -> Engine:
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    options = {
        "statement_timeout": f"{statement_timeout_seconds}s",
        "lock_timeout": f"{min(5, statement_timeout_seconds)}s",
        "idle_in_transaction_session_timeout": "30s",
        "timezone": "UTC",
        "application_name": "epay-payouts",
    }
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_recycle=1800,
        hide_parameters=True,  # an error's text must not hold an account number
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        },
        **more,
    )
    event.listen(engine, "handle_error", _strip_values)
    return engine


@contextmanager
def driver_cursor(single: Engine) -> Iterator[psycopg.Cursor[Any]]:
    """A cursor of the driver itself, for what every payout pays for: half the cost of SQLAlchemy's.

    Errors are SQLAlchemy's all the same, without the values; the connection that met one is closed.

    Args:
        single: an engine by `make_single_engine`: what is executed is committed as it ends.
    """
    connection: PoolProxiedConnection | None = None
    try:
        connection = single.raw_connection()
        cursor = connection.info.get(_CURSOR)
        if cursor is None:  # kept: a new one costs as much as its statement
            driver = cast("psycopg.Connection[Any]", connection.driver_connection)
            cursor = connection.info[_CURSOR] = driver.cursor()
        yield cursor
    except psycopg.Error as error:
        if connection is not None:
            connection.invalidate(error)
        raise _wrapped(single, error) from None
    finally:
        if connection is not None:
            connection.close()


def _wrapped(engine: Engine, error: psycopg.Error) -> DBAPIError:
    wrapped = DBAPIError.instance(
        None, None, error, psycopg.Error, hide_parameters=True, dialect=engine.dialect
    )
    if isinstance(wrapped, DataError | IntegrityError):
        return _without_values(wrapped, error)
    return cast("DBAPIError", wrapped)


class Refusal(Exception):
    """What PostgreSQL said in refusing a statement, without the row that it would have quoted."""


def _strip_values(context: ExceptionContext) -> None:
    """Put an error that quotes values in words that do not: they may be account numbers."""
    error, original = context.sqlalchemy_exception, context.original_exception
    if isinstance(error, DataError | IntegrityError) and isinstance(original, psycopg.Error):
        raise _without_values(error, original) from None


def _without_values(error: DataError | IntegrityError, original: psycopg.Error) -> DBAPIError:
    # a refused value stands in the message itself; of a constraint only the name does
    refused = isinstance(error, DataError)
    what = "a value was refused" if refused else original.diag.message_primary
    words = f"{what} (SQLSTATE {original.sqlstate})"
    original.args = (words,)  # it is printed too, as the cause, and its detail quotes the row
    return type(error)(None, None, Refusal(words))


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may succeed later.

    PostgreSQL is away, busy, restarting, read-only after a failover, or lacks what a migration or a
    grant will give it: all but a value that it refuses.
    """
    if isinstance(error, PoolTimeout):
        return True
    return isinstance(error, DBAPIError) and not isinstance(error, DataError | IntegrityError)
