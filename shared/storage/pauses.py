"""Pauses: an operator stops new sends; recorded in PostgreSQL with who, when and why.

A pause holds all payouts, or those of an account, a channel, a currency or a combination of them.
Pauses are lifted, never deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, RowMapping, func, select, text
from sqlalchemy.sql.elements import ColumnElement

from shared.domain.accounts import account_key
from shared.domain.payout import PayoutState, Status
from shared.storage.statements import account_key_sql, is_account
from shared.storage.tables import metadata

_BRAKE = metadata.tables["payout_brake"]
_PAYOUT = metadata.tables["payout"]
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_LOCK_KEY = 0x6272616B
_ACTIVE = select(_BRAKE).where(_BRAKE.c.lifted_at.is_(None)).order_by(_BRAKE.c.id)

THE_SERVICE = "the service"
"""Who set a pause that no person set."""
REFUSED_BY_EPAY = "refused_by_epay"
"""The code of the automatic pause of an account whose queries EPAY refuses (law 12)."""
_PROBE_EVERY = timedelta(seconds=30)
_CLAIM_PROBE = text(
    f"""
INSERT INTO payout_mark (name, at) SELECT :name, :now WHERE EXISTS (
    SELECT FROM payout_brake
    WHERE lifted_at IS NULL AND {account_key_sql("payout_brake")} = :account_key AND code = :code
)
ON CONFLICT (name) DO UPDATE SET at = excluded.at WHERE payout_mark.at <= :before
RETURNING name
"""
)

NOTICED_WITHIN = timedelta(seconds=1)
"""Workers cache pauses for at most this long: a pause, and its end, then hold everywhere."""
DATABASE_CHANGED = "database_changed"
"""The code of the automatic pause that only `payouts recover` lifts (law 11)."""
_WAKE_SECONDS = 0.01
"""Between payouts that are woken: a burst of submissions would delay status queries."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The payouts that a pause holds; a field that is None matches all."""

    epay_account: str | None = None
    channel_code: str | None = None
    currency: str | None = None

    def covers(self, payout: PayoutState) -> bool:
        """Whether the payout is held."""
        return (
            (
                self.epay_account is None
                or account_key(self.epay_account) == account_key(payout.epay_account)
            )
            and self.channel_code in {None, payout.channel_code}
            and self.currency in {None, payout.currency}
        )

    def equals(self, other: Scope) -> bool:
        """Whether both match the same payouts; another spelling is the same account."""
        return self._with_key() == other._with_key()

    def _with_key(self) -> Scope:
        account = self.epay_account
        return self if account is None else replace(self, epay_account=account_key(account))

    def __str__(self) -> str:
        named = zip(("account", "channel", "currency"), astuple(self), strict=True)
        parts = [f"{name} {value}" for name, value in named if value is not None]
        return ", ".join(parts) or "all payouts"


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause; in force until it is lifted."""

    id: int
    scope: Scope
    set_at: datetime
    set_by: str
    reason: str
    lifted_at: datetime | None
    lifted_by: str | None
    lifted_reason: str | None
    code: str | None = None
    """Of a pause that the service set by itself, for example `DATABASE_CHANGED`; else None."""


class AlreadyPaused(Exception):
    """A pause of the same scope is in force; nothing was changed."""

    def __init__(self, standing: Pause) -> None:
        super().__init__(f"{standing.scope} is paused already")
        self.standing = standing


class NotPaused(Exception):
    """No pause of the scope is in force; `standing` lists those that are."""

    def __init__(self, scope: Scope, standing: Sequence[Pause]) -> None:
        super().__init__(f"no pause of {scope} is in force")
        self.standing = standing


def pause(
    engine: Engine, scope: Scope, by: str, reason: str, now: datetime, code: str | None = None
) -> Pause:
    """Stop new sends of `scope`; every worker obeys `NOTICED_WITHIN` later.

    Raises:
        AlreadyPaused: a pause of exactly this scope and code is in force.
    """
    with engine.begin() as connection:
        connection.execute(_LOCK, {"key": _LOCK_KEY})
        for standing in _active(connection):
            if standing.scope.equals(scope) and standing.code == code:
                raise AlreadyPaused(standing)
        rows = connection.execute(
            _BRAKE.insert()
            .values(**asdict(scope), set_at=now, set_by=by, reason=reason, code=code)
            .returning(_BRAKE)
        )
        return pause_from_row(rows.mappings().one())


def resume(engine: Engine, scope: Scope, by: str, reason: str, now: datetime) -> Pause:
    """Lift the pause of exactly this scope; its row stays, with who lifted it, when and why.

    A person's pause is lifted first, then REFUSED_BY_EPAY; DATABASE_CHANGED is not.

    Raises:
        NotPaused: there is none.
    """
    with engine.begin() as connection:
        try:
            return lift(connection, scope, by, reason, now)
        except NotPaused:
            return lift(connection, scope, by, reason, now, REFUSED_BY_EPAY)


def lift(
    connection: Connection,
    scope: Scope,
    by: str,
    reason: str,
    now: datetime,
    code: str | None = None,
) -> Pause:
    """`resume` within a transaction, for the pause of this scope and code.

    Raises:
        NotPaused: there is none.
    """
    connection.execute(_LOCK, {"key": _LOCK_KEY})
    standing = _active(connection)
    for found in standing:
        if found.scope.equals(scope) and found.code == code:
            rows = connection.execute(
                _BRAKE.update()
                .where(_BRAKE.c.id == found.id)
                .values(lifted_at=now, lifted_by=by, lifted_reason=reason)
                .returning(_BRAKE)
            )
            return pause_from_row(rows.mappings().one())
    raise NotPaused(scope, standing)


def active(engine: Engine) -> list[Pause]:
    """The pauses in force, oldest first."""
    with engine.connect() as connection:
        return _active(connection)


def history(engine: Engine, limit: int = 100) -> list[Pause]:
    """Pauses in force and lifted, newest first."""
    wanted = select(_BRAKE).order_by(_BRAKE.c.id.desc()).limit(limit)
    with engine.connect() as connection:
        return [pause_from_row(row) for row in connection.execute(wanted).mappings()]


def count_waiting(engine: Engine, scope: Scope = Scope()) -> int:
    """How many payouts of `scope` are queued, without those in review."""
    wanted = select(func.count()).select_from(_PAYOUT).where(*_queued(scope))
    with engine.connect() as connection:
        return connection.execute(wanted).scalar_one()


def wake_waiting(engine: Engine, scope: Scope, now: datetime) -> int:
    """Make the queued payouts of `scope` due soon, spread over time, instead of when deferred to.

    Call it `NOTICED_WITHIN` after `resume` or later: a worker that still has the pause cached would
    defer them again. Only due_at changes, as in a claim by the sweep; it voids such a claim.

    Returns:
        How many payouts.
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


@dataclass(frozen=True, slots=True)
class RefusalPause:
    """The pause of one account while EPAY refuses an order that it must know (law 12)."""

    engine: Engine
    epay_account: str

    def of(self, epay_account: str) -> RefusalPause:
        """The same for another account."""
        return replace(self, epay_account=epay_account)

    def begin(self, reason: str, now: datetime) -> bool:
        """Stop new sends of the account; False: they are stopped already."""
        try:
            scope = Scope(self.epay_account)
            pause(self.engine, scope, THE_SERVICE, reason, now, code=REFUSED_BY_EPAY)
        except AlreadyPaused:
            return False
        return True

    def end(self, now: datetime) -> bool:
        """Lift the pause, since EPAY shows the order; False: none was in force."""
        scope = Scope(self.epay_account)
        reason = "EPAY shows again an order that it must know"
        try:
            with self.engine.begin() as connection:
                lift(connection, scope, THE_SERVICE, reason, now, REFUSED_BY_EPAY)
        except NotPaused:
            return False
        wake_waiting(self.engine, scope, now + NOTICED_WITHIN)
        return True

    def claim_probe(self, now: datetime) -> bool:
        """Whether the pause is in force and it is this caller's turn to ask EPAY again."""
        values = {
            "name": f"control {account_key(self.epay_account)}",
            "now": now,
            "before": now - _PROBE_EVERY,
            "account_key": account_key(self.epay_account),
            "code": REFUSED_BY_EPAY,
        }
        with self.engine.begin() as connection:
            return connection.execute(_CLAIM_PROBE, values).first() is not None


def _queued(scope: Scope) -> list[ColumnElement[bool]]:
    equal = ("channel_code", "currency")
    return [
        _PAYOUT.c.status == Status.QUEUED.value,
        _PAYOUT.c.review_reason.is_(None),
        *([] if scope.epay_account is None else [is_account(scope.epay_account)]),
        *(
            _PAYOUT.c[name] == value
            for name in equal
            if (value := getattr(scope, name)) is not None
        ),
    ]


def _active(connection: Connection) -> list[Pause]:
    return [pause_from_row(row) for row in connection.execute(_ACTIVE).mappings()]


def pause_from_row(row: RowMapping) -> Pause:
    """The pause of a row that has the columns of `payout_brake`."""
    values = {column.name: row[column.name] for column in _BRAKE.c}
    scope = Scope(*(values.pop(name) for name in ("epay_account", "channel_code", "currency")))
    return Pause(scope=scope, **values)
