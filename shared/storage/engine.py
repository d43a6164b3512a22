"""Database engines whose waits are bounded, and the classification of their errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import Engine, PoolProxiedConnection, create_engine, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_CONNECT_TIMEOUT_SECONDS = 5
_STATEMENT_TIMEOUT_SECONDS = 15


def make_engine(
    database_url: str,
    *,
    pool_size: int = 10,
    statement_timeout_seconds: int = _STATEMENT_TIMEOUT_SECONDS,
) -> Engine:
    """An engine with timeouts for connecting, statements, locks and idle transactions.

    Args:
        database_url: `postgresql://...`
        pool_size: the maximum number of connections; further threads wait for one, at most 10 s.
        statement_timeout_seconds: 0 for none (migrations).
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    options = {
        "statement_timeout": f"{statement_timeout_seconds}s",
        "lock_timeout": f"{min(5, statement_timeout_seconds)}s",
        "idle_in_transaction_session_timeout": "30s",
        "timezone": "UTC",
        "synchronous_commit": "on",  # what was committed before a send survives a crash (law 11)
        "application_name": "epay-payouts",
    }
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_recycle=1800,
        skip_autocommit_rollback=True,  # there is no transaction that it could end
        hide_parameters=True,  # an error must not quote an account number
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        },
    )
    event.listen(engine, "handle_error", _strip_values)
    return engine


@contextmanager
def autocommit_cursor(engine: Engine) -> Iterator[psycopg.Cursor[Any]]:
    """A cursor of psycopg in autocommit mode: half of the CPU time of SQLAlchemy's connection.

    Errors are raised as SQLAlchemy's, without values; the connection is then closed.
    """
    pooled: PoolProxiedConnection | None = None
    try:
        pooled = engine.raw_connection()
        driver = cast("psycopg.Connection[Any]", pooled.driver_connection)
        driver.autocommit = True
        yield driver.cursor()
        driver.autocommit = False
    except BaseException as error:
        if pooled is not None:
            pooled.invalidate()  # a connection in autocommit mode must not serve a transaction
        if isinstance(error, psycopg.Error):
            raise _as_sqlalchemy_error(engine, error) from None
        raise
    finally:
        if pooled is not None:
            pooled.close()


class Refusal(Exception):
    """Why PostgreSQL refused a statement, without the values that its own error quotes."""


def _as_sqlalchemy_error(engine: Engine, error: psycopg.Error) -> BaseException:
    wrapped = DBAPIError.instance(
        None, None, error, psycopg.Error, hide_parameters=True, dialect=engine.dialect
    )
    return _without_values(wrapped, error)


def _strip_values(context: ExceptionContext) -> None:
    """Replace an error that quotes values, which may be account numbers."""
    error, original = context.sqlalchemy_exception, context.original_exception
    if isinstance(error, DataError | IntegrityError) and isinstance(original, psycopg.Error):
        raise _without_values(error, original) from None


def _without_values(error: BaseException, original: psycopg.Error) -> BaseException:
    if not isinstance(error, DataError | IntegrityError):
        return error
    # the message of a DataError quotes the value; that of an IntegrityError names the constraint
    is_value = isinstance(error, DataError)
    reason = "a value was refused" if is_value else original.diag.message_primary
    message = f"{reason} (SQLSTATE {original.sqlstate})"
    original.args = (message,)  # a traceback prints it as the cause
    return type(error)(None, None, Refusal(message))


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may succeed later: every error but a refused value.

    For example PostgreSQL is unreachable, busy, restarting or read-only after a failover, or a
    migration or a grant is missing.
    """
    if isinstance(error, PoolTimeout):
        return True
    return isinstance(error, DBAPIError) and not isinstance(error, DataError | IntegrityError)
