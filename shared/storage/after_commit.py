"""Saying to the workers "look at this payout" once the transaction that made it is committed.

A hint that comes early, twice or never does no harm: a worker finds nothing to do, and the sweep
finds what is due. So nothing here may fail the app's own work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Pool, event

Hint = Callable[[], None]

_KEPT = "epay-payouts.hints"
_pools: WeakSet[Pool] = WeakSet()
"""Those that are listened to: `event.contains` goes by ids, and takes a new one for an old one."""


class _Hints:
    """The hints of one connection to the database: of the transaction under way, and committed."""

    def __init__(self) -> None:
        self.waiting: list[Hint] = []
        self.committed: list[Hint] = []

    def flush(self) -> None:
        ready, self.committed = self.committed, []
        for hint in ready:
            hint()


def after_commit(connection: Connection, hint: Hint) -> None:
    """Call `hint` once when the transaction under way is committed; never if it is rolled back.

    SQLAlchemy tells of a commit just before it: so the call comes when the connection goes back to
    its pool, or begins its next transaction, whichever is first. For a Session that is within its
    `commit()`. Savepoints are no commits.

    Args:
        hint: must not raise.
    """
    pool = connection.engine.pool
    if pool not in _pools:
        _pools.add(pool)
        event.listen(pool, "checkin", _on_checkin)
    kept = connection.info.get(_KEPT)
    if kept is None:  # taken away at the checkin: so nobody listens to this connection yet
        kept = connection.info[_KEPT] = _Hints()
        event.listen(connection, "commit", _on_commit)
        event.listen(connection, "rollback", _on_rollback)
        event.listen(connection, "begin", _on_begin)
    kept.waiting.append(hint)


def _on_commit(connection: Connection) -> None:
    kept = _kept(connection)
    if kept is not None:
        kept.committed += kept.waiting
        kept.waiting = []


def _on_rollback(connection: Connection) -> None:
    kept = _kept(connection)
    if kept is not None:
        kept.waiting = []


def _on_begin(connection: Connection) -> None:
    kept = _kept(connection)
    if kept is not None:
        kept.flush()


def _on_checkin(_dbapi_connection: Any, record: Any) -> None:
    kept = record.info.pop(_KEPT, None)
    if kept is not None:
        kept.flush()


def _kept(connection: Connection) -> _Hints | None:
    if connection.closed or connection.invalidated:  # whoever asks for its info then gets an error
        return None
    kept: _Hints | None = connection.info.get(_KEPT)
    return kept
