"""Database engines whose waits are bounded, and the classification of their errors."""

from __future__ import annotations

import psycopg
from sqlalchemy import Engine, create_engine, event
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


class Refusal(Exception):
    """Why PostgreSQL refused a statement, without the values that its own error quotes."""


def _strip_values(context: ExceptionContext) -> None:
    """Replace an error that quotes values, which may be account numbers."""
    error, original = context.sqlalchemy_exception, context.original_exception
    if not isinstance(error, DataError | IntegrityError) or not isinstance(original, psycopg.Error):
        return
    # the message of a DataError quotes the value; that of an IntegrityError names the constraint
    is_value = isinstance(error, DataError)
    reason = "a value was refused" if is_value else original.diag.message_primary
    message = f"{reason} (SQLSTATE {original.sqlstate})"
    original.args = (message,)  # a traceback prints it as the cause
    raise type(error)(None, None, Refusal(message)) from None


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may succeed later: every error but a refused value.

    For example PostgreSQL is unreachable, busy, restarting or read-only after a failover, or a
    migration or a grant is missing.
    """
    if isinstance(error, PoolTimeout):
        return True
    return isinstance(error, DBAPIError) and not isinstance(error, DataError | IntegrityError)
