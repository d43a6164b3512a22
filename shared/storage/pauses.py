"""Pauses: what a person stopped from being sent, in PostgreSQL, with who, when and why.

A pause holds back new sends of all payouts, or of those of one account, channel or currency; where
it names several of the three, a payout must agree in each. Nothing is ever deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, select, text
from sqlalchemy.sql.elements import ColumnElement

from shared.domain.payout import PayoutState, Status
from shared.storage.tables import metadata

_BRAKE = metadata.tables["payout_brake"]
_PAYOUT = metadata.tables["payout"]
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_LOCK_KEY = 0x6272616B
_ACTIVE = select(_BRAKE).where(_BRAKE.c.lifted_at.is_(None)).order_by(_BRAKE.c.id)

NOTICED_WITHIN = timedelta(seconds=1)
"""So old at most is what a worker goes by: after it, all know of a pause and of its end."""
_WAKE_SECONDS = 0.01
"""What was held back comes again spread over time, so that following is not pushed aside."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a pause is about; all None: everything."""

    epay_account: str | None = None
    channel_code: str | None = None
    currency: str | None = None

    def covers(self, payout: PayoutState) -> bool:
        """Whether the payout is held back."""
        return (
            self.epay_account in {None, payout.epay_account}
            and self.channel_code in {None, payout.channel_code}
            and self.currency in {None, payout.currency}
        )

    def __str__(self) -> str:
        parts = [
            f"{name} {value}"
            for name, value in (
                ("account", self.epay_account),
                ("channel", self.channel_code),
                ("currency", self.currency),
            )
            if value is not None
        ]
        return ", ".join(parts) or "all payouts"


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause on record; in force as long as it is not lifted."""

    id: int
    scope: Scope
    set_at: datetime
    set_by: str
    reason: str
    lifted_at: datetime | None
    lifted_by: str | None
    lifted_reason: str | None


class AlreadyPaused(Exception):
    """The same pause is in force; nothing was changed."""

    def __init__(self, standing: Pause) -> None:
        super().__init__(f"{standing.scope} is paused already")
        self.standing = standing


class NotPaused(Exception):
    """There is no such pause to lift; `standing` are those in force."""

    def __init__(self, scope: Scope, standing: Sequence[Pause]) -> None:
        super().__init__(f"no pause of {scope} is in force")
        self.standing = standing


def pause(engine: Engine, scope: Scope, by: str, reason: str, now: datetime) -> Pause:
    """Hold back new sends of `scope`: in force for every worker `NOTICED_WITHIN` later.

    Raises:
        AlreadyPaused: just that is paused.
    """
    with engine.begin() as connection:
        connection.execute(_LOCK, {"key": _LOCK_KEY})
        for standing in _active(connection):
            if standing.scope == scope:
                raise AlreadyPaused(standing)
        row = connection.execute(
            _BRAKE.insert()
            .values(
                epay_account=scope.epay_account,
                channel_code=scope.channel_code,
                currency=scope.currency,
                set_at=now,
                set_by=by,
                reason=reason,
            )
            .returning(_BRAKE)
        ).one()
        return _pause(row)


def resume(engine: Engine, scope: Scope, by: str, reason: str, now: datetime) -> Pause:
    """Lift the pause of just this scope; the entry stays, with who lifted it, when and why.

    Raises:
        NotPaused: there is none.
    """
    with engine.begin() as connection:
        connection.execute(_LOCK, {"key": _LOCK_KEY})
        standing = _active(connection)
        for found in standing:
            if found.scope == scope:
                row = connection.execute(
                    _BRAKE.update()
                    .where(_BRAKE.c.id == found.id)
                    .values(lifted_at=now, lifted_by=by, lifted_reason=reason)
                    .returning(_BRAKE)
                ).one()
                return _pause(row)
        raise NotPaused(scope, standing)


def active(engine: Engine) -> list[Pause]:
    """The pauses in force, the oldest first."""
    with engine.connect() as connection:
        return _active(connection)


def history(engine: Engine, limit: int = 100) -> list[Pause]:
    """All pauses that ever were, the newest first."""
    wanted = select(_BRAKE).order_by(_BRAKE.c.id.desc()).limit(limit)
    with engine.connect() as connection:
        return [_pause(row) for row in connection.execute(wanted)]


def count_waiting(engine: Engine, scope: Scope = Scope()) -> int:
    """How many queued payouts of `scope` wait; without those that wait for a person."""
    wanted = text("count(*)")
    with engine.connect() as connection:
        found = connection.execute(select(wanted).select_from(_PAYOUT).where(*_queued(scope)))
        return int(found.scalar_one())


def wake_waiting(engine: Engine, scope: Scope, now: datetime) -> int:
    """Have the queued payouts of `scope` looked at soon, not when they would look by themselves.

    Call it no sooner than `NOTICED_WITHIN` after `resume`: a worker that has not noticed yet would
    put them off again. Only due_at changes, as when the sweep claims; whoever holds one loses it.

    Returns:
        How many.
    """
    spread = timedelta(seconds=count_waiting(engine, scope) * _WAKE_SECONDS)
    held = (
        select(_PAYOUT.c.id)
        .where(*_queued(scope), _PAYOUT.c.due_at > now)
        .with_for_update(skip_locked=True)
    )
    later = text("CAST(:now AS timestamptz) + random() * CAST(:spread AS interval)")
    statement = _PAYOUT.update().where(_PAYOUT.c.id.in_(held)).values(due_at=later)
    with engine.begin() as connection:
        return connection.execute(statement, {"now": now, "spread": spread}).rowcount


def _queued(scope: Scope) -> list[ColumnElement[bool]]:
    named = {
        "epay_account": scope.epay_account,
        "channel_code": scope.channel_code,
        "currency": scope.currency,
    }
    return [
        _PAYOUT.c.status == Status.QUEUED.value,
        _PAYOUT.c.review_reason.is_(None),
        *(_PAYOUT.c[name] == value for name, value in named.items() if value is not None),
    ]


def _active(connection: Connection) -> list[Pause]:
    return [_pause(row) for row in connection.execute(_ACTIVE)]


def _pause(row: Row[Any]) -> Pause:
    return Pause(
        id=row.id,
        scope=Scope(row.epay_account, row.channel_code, row.currency),
        set_at=row.set_at,
        set_by=row.set_by,
        reason=row.reason,
        lifted_at=row.lifted_at,
        lifted_by=row.lifted_by,
        lifted_reason=row.lifted_reason,
    )
