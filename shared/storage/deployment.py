"""The deployment's identity in PostgreSQL: which database this is, how far it has come (law 11).

One row says on which server, timeline and database it was written, and by which transaction. A
database that was restored, copied or promoted is not what its row says. The row also counts sweeps:
a Redis that remembers a higher count shows that the database has lost commits.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, Engine, RowMapping, text

from shared.domain.witness import Mark
from shared.storage import pauses
from shared.storage.pauses import DATABASE_CHANGED, AlreadyPaused, Pause, Scope

log = structlog.get_logger(__name__)

_LIVE = """(
    SELECT system_identifier::text AS server,
        substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline,
        (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database
    FROM pg_control_system()
) live"""
_WRITTEN = "txid_current() % 4294967296"
"""The transaction as xmin shows it; a restored row has the xmin of the restore."""
_COLUMNS = (
    "d.token, d.high_water, d.epoch, d.ask_first_until, d.server, d.timeline, d.database,"
    " d.written_by, live.server AS live_server, live.timeline AS live_timeline,"
    " live.database AS live_database"
)
_READ = text(
    f"SELECT {_COLUMNS}, d.xmin::text::bigint AS live_written_by FROM payout_deployment d, {_LIVE}"
)
_SENDING = text(
    f"SELECT {_COLUMNS}, d.xmin::text::bigint AS live_written_by, b.*"
    f" FROM {_LIVE} LEFT JOIN payout_deployment d ON true"
    " LEFT JOIN payout_brake b ON b.lifted_at IS NULL ORDER BY b.id"
)
_ADVANCE = text(
    f"""
UPDATE payout_deployment d SET high_water = high_water + 1, written_by = {_WRITTEN}
FROM {_LIVE} WHERE d.xmin::text::bigint = d.written_by
AND (d.server, d.timeline, d.database) = (live.server, live.timeline, live.database)
RETURNING {_COLUMNS}, d.written_by AS live_written_by
"""
)
_PIN = text(
    f"""
INSERT INTO payout_deployment
    (id, token, high_water, epoch, server, timeline, database, written_by)
SELECT 1, :token, 0, 0, live.server, live.timeline, live.database, {_WRITTEN} FROM {_LIVE}
ON CONFLICT (id) DO NOTHING
"""
)
_REPIN = text(
    f"""
UPDATE payout_deployment d SET high_water = greatest(high_water, :high_water) + 1,
    epoch = epoch + 1, ask_first_until = :until, written_by = {_WRITTEN},
    server = live.server, timeline = live.timeline, database = live.database
FROM {_LIVE} RETURNING {_COLUMNS}, d.written_by AS live_written_by
"""
)

_SENT = text(
    "SELECT id, epay_account, merchant_order_no, created_at, sequence, journal_hash, first_sent_at"
    " FROM payout WHERE id < :below ORDER BY id DESC LIMIT :limit"
)
_ASK_OPEN = text(
    "UPDATE payout"
    " SET due_at = least(due_at, CAST(:now AS timestamptz) + random() * interval '60 s')"
    " WHERE status IN ('unknown', 'processing', 'pending_withdrawal')"
)
_OPEN = text(
    "SELECT id, merchant_order_no FROM payout WHERE epay_account = :account"
    " AND due_at IS NOT NULL AND id > :last ORDER BY id LIMIT :limit"
)
_COUNT_OPEN = text(
    "SELECT count(*) FILTER (WHERE epay_account = :account) AS own,"
    " count(*) FILTER (WHERE epay_account <> :account) AS others,"
    " (SELECT max(updated_at) FROM payout) AS newest FROM payout WHERE due_at IS NOT NULL"
)
_BOTH = 2
_REMEMBERS = text(
    "SELECT count(*) FROM payout_event WHERE payout_id = :id AND ("
    "(sequence = :own AND starts_with(hash, :own_hash))"
    " OR (sequence = :found AND starts_with(hash, :found_hash)))"
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The deployment row, and how the database differs from it."""

    token: str
    """Random; names the deployment, also after a restore."""
    high_water: int
    """How many sweeps have run; only grows."""
    epoch: int
    """How often `payouts recover` has run."""
    ask_first_until: datetime | None
    """Until then an order of which nothing is known since the recovery is asked about, not sent."""
    difference: str | None
    """How the database is another than the one that the row was written in; None: it is not."""


class SentPayout(NamedTuple):
    """A payout, and the mark that its sends have left in Redis; None: it was not sent."""

    id: int
    epay_account: str
    merchant_order_no: str
    created_at: datetime
    mark: Mark | None


class OpenPayouts(NamedTuple):
    """What is not final in this database."""

    own: int
    others: int
    """Of other EPAY accounts."""
    newest: datetime | None
    """When any payout last changed: about where the database ends."""


def pin(engine: Engine) -> Deployment:
    """Record this database's identity, unless one is recorded; return what is recorded."""
    with engine.begin() as connection:
        connection.execute(_PIN, {"token": secrets.token_hex(16)})
    with engine.connect() as connection:
        return _deployment(connection.execute(_READ).mappings().one())


def find(engine: Engine) -> Deployment | None:
    """The deployment; None if no worker has ever started on this database."""
    with engine.connect() as connection:
        row = connection.execute(_READ).mappings().one_or_none()
    return None if row is None else _deployment(row)


def find_with_pauses(engine: Engine) -> tuple[Deployment | None, list[Pause]]:
    """The deployment, and the pauses in force, oldest first: in one statement."""
    with engine.connect() as connection:
        rows = connection.execute(_SENDING).mappings().all()
    found = None if rows[0]["token"] is None else _deployment(rows[0])
    return found, [pauses.pause_from_row(row) for row in rows if row["id"] is not None]


def may_have_forgotten(engine: Engine, now: datetime) -> bool:
    """Whether the database went back in time, at most one resend horizon before its recovery."""
    found, active = find_with_pauses(engine)
    until = None if found is None else found.ask_first_until
    return (until is not None and now < until) or any(
        pause.code == DATABASE_CHANGED for pause in active
    )


def advance(engine: Engine) -> Deployment | None:
    """Count a sweep, unless the database differs from its row; return the deployment."""
    with engine.begin() as connection:
        row = connection.execute(_ADVANCE).mappings().one_or_none()
    return find(engine) if row is None else _deployment(row)


def repin(connection: Connection, high_water: int, until: datetime) -> Deployment:
    """Accept the database as it is now, with a mark above `high_water`, and a new epoch."""
    values = {"high_water": high_water, "until": until}
    return _deployment(connection.execute(_REPIN, values).mappings().one())


def pause_sending(engine: Engine, reason: str, now: datetime) -> Pause:
    """Stop new sends until `payouts recover`; the pause that does, new or not."""
    try:
        made = pauses.pause(engine, Scope(), pauses.THE_SERVICE, reason, now, code=DATABASE_CHANGED)
    except AlreadyPaused as standing:
        return standing.standing
    log.error("database_changed", reason=reason)
    return made


def remembers(engine: Engine, payout_id: int, own: Mark, found: Mark) -> bool:
    """Whether the payout's journal has both claims."""
    values = {
        "id": payout_id,
        "own": own.sequence,
        "own_hash": own.hash,
        "found": found.sequence,
        "found_hash": found.hash,
    }
    with engine.connect() as connection:
        return bool(connection.execute(_REMEMBERS, values).scalar_one() == _BOTH)


def marks_below(engine: Engine, payout_id: int, limit: int) -> list[SentPayout]:
    """The newest payouts with a lower id, the newest first, with marks to be written anew."""
    with engine.connect() as connection:
        rows = connection.execute(_SENT, {"below": payout_id, "limit": limit}).all()
    return [
        SentPayout(row.id, row.epay_account, row.merchant_order_no, row.created_at, _mark(row))
        for row in rows
    ]


def ask_open(engine: Engine, now: datetime) -> int:
    """Make the payouts that EPAY has or may have due within a minute; how many."""
    with engine.begin() as connection:
        return connection.execute(_ASK_OPEN, {"now": now}).rowcount


def count_open(engine: Engine, epay_account: str) -> OpenPayouts:
    """How many payouts of the account, and of others, are not final."""
    with engine.connect() as connection:
        row = connection.execute(_COUNT_OPEN, {"account": epay_account}).one()
    return OpenPayouts(row.own, row.others, row.newest)


def open_orders(engine: Engine, epay_account: str, last_id: int, limit: int) -> dict[int, str]:
    """The order numbers of the next payouts of the account that are not final, by id."""
    values = {"account": epay_account, "last": last_id, "limit": limit}
    with engine.connect() as connection:
        return {row.id: row.merchant_order_no for row in connection.execute(_OPEN, values)}


def _mark(row: Any) -> Mark | None:
    if row.first_sent_at is None:
        return None
    return Mark.make(0, row.sequence, row.journal_hash, row.first_sent_at)


def _deployment(row: RowMapping) -> Deployment:
    names = {"server": "server", "timeline": "timeline", "database": "database"}
    changed = [what for name, what in names.items() if row[name] != row[f"live_{name}"]]
    if not changed and row["written_by"] != row["live_written_by"]:
        changed = ["rows, which another transaction has written (a restore)"]
    difference = f"the database has another {', another '.join(changed)}" if changed else None
    return Deployment(
        row["token"], row["high_water"], row["epoch"], row["ask_first_until"], difference
    )
