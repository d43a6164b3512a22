"""Calls to make once a Session has committed, by SQLAlchemy's own Session events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

_PENDING = "epay-payouts.after_commit"


def after_commit(session: Session | scoped_session[Any], call: Callable[[], None]) -> None:
    """Call `call` within the session's next `commit()`, when the transaction is committed.

    A rollback or `close()` drops it. A savepoint neither makes the call nor drops it.

    Args:
        call: must not raise.
    """
    session.info.setdefault(_PENDING, []).append(call)


@event.listens_for(Session, "after_commit")
def _make_calls(session: Session) -> None:
    if not session.in_nested_transaction():  # the event comes for savepoints too
        for call in session.info.pop(_PENDING, []):
            call()


@event.listens_for(Session, "after_transaction_end")
def _drop_calls(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_PENDING, None)
