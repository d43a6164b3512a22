"""The deployment's identity in PostgreSQL: which database this is, how far it has come (law 11).

One row says on which server, timeline and database it was written, and by which transaction. A
database that was restored, copied or promoted is not what its row says. The row also counts sweeps:
a Redis that remembers a higher count shows that the database has lost commits.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine, RowMapping, text

from shared.domain.witness import Mark
from shared.storage import pauses
from shared.storage.pauses import DATABASE_CHANGED, AlreadyPaused, Pause, Scope
from shared.storage.payout_store import ClaimedKey

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
    " live.database AS live_database,"
    " (SELECT at FROM payout_mark WHERE name = 'marks_missed') AS marks_missed"
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

SENT = text(
    "SELECT id, epay_account, merchant_order_no, sequence, journal_hash, first_sent_at FROM payout"
    " WHERE id < :below AND id >= :from_id AND last_sent_at >= :since AND first_sent_at IS NOT NULL"
    " ORDER BY id DESC LIMIT :limit"
)
"""By a range of the primary key: how old a payout is does not say when it was sent."""
_SENT_RANGE = 100_000
_SENT_LIMIT = 5_000
_NEWEST_ID = text("SELECT max(id) FROM payout")
_ASK_OPEN = text(
    """
UPDATE payout SET due_at = least(due_at, CAST(:now AS timestamptz) + random() * interval '60 s')
WHERE id IN (
    SELECT id FROM payout WHERE due_at IS NOT NULL AND id > :last
    AND status IN ('unknown', 'processing', 'pending_withdrawal')
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
) RETURNING id
"""
)
_ASKED_AT_ONCE = 500
_OPEN = text(
    "SELECT id, merchant_order_no, status, epay_account, epay_gateway FROM payout"
    " WHERE due_at IS NOT NULL AND id > :last ORDER BY id LIMIT :limit"
)
_COUNT_OPEN = text(
    "SELECT count(*) AS payouts, (SELECT at FROM payout_event ORDER BY id DESC LIMIT 1) AS newest"
    " FROM payout WHERE due_at IS NOT NULL"
)
_NOTE_MISSED = text(
    "INSERT INTO payout_mark (name, at) VALUES ('marks_missed', :now)"
    " ON CONFLICT (name) DO UPDATE SET at = greatest(payout_mark.at, excluded.at)"
)
_FORGET_MISSED = text("DELETE FROM payout_mark WHERE name = 'marks_missed' AND at = :at")
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
    marks_missed: datetime | None
    """When a send last left no mark because Redis did not answer; None: all marks are written."""


class SentPayout(NamedTuple):
    """A payout that was sent, and the mark of its last send."""

    epay_account: str
    merchant_order_no: str
    mark: Mark


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
    if found is None:
        return True  # an old backup, or no worker has started: nobody knows
    until = found.ask_first_until
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


def sent_below(engine: Engine, payout_id: int, since: datetime) -> tuple[list[SentPayout], int]:
    """One page of the payouts with a lower id that were sent since then, the newest first.

    Returns:
        The payouts, and the id below which the next page begins; 0: this was the last one.
    """
    with engine.connect() as connection:
        below = min(payout_id, (connection.execute(_NEWEST_ID).scalar() or 0) + 1)
        from_id = max(0, below - _SENT_RANGE)
        values = {"below": below, "from_id": from_id, "since": since, "limit": _SENT_LIMIT}
        rows = connection.execute(SENT, values).all()
    marks = [(row, Mark.make(0, row.sequence, row.journal_hash, row.first_sent_at)) for row in rows]
    page = [SentPayout(row.epay_account, row.merchant_order_no, mark) for row, mark in marks]
    return page, rows[-1].id if len(rows) == _SENT_LIMIT else from_id


def note_missed_mark(engine: Engine, now: datetime) -> None:
    """Record that a send left no mark in Redis: a sweep then writes the marks anew."""
    with engine.begin() as connection:
        connection.execute(_NOTE_MISSED, {"now": now})


def forget_missed_marks(engine: Engine, at: datetime) -> None:
    """The marks that were missed until then are being written anew."""
    with engine.begin() as connection:
        connection.execute(_FORGET_MISSED, {"at": at})


def ask_open(engine: Engine, now: datetime) -> int:
    """Make the payouts that EPAY has or may have due within a minute; how many.

    One that another session changes at this moment is left out: it waits for no lock.
    """
    count, last_id = 0, 0
    while True:
        values = {"now": now, "last": last_id, "limit": _ASKED_AT_ONCE}
        with engine.begin() as connection:
            ids = connection.execute(_ASK_OPEN, values).scalars().all()
        if not ids:
            return count
        count, last_id = count + len(ids), max(ids)


def count_open(engine: Engine) -> tuple[int, datetime | None]:
    """How many payouts are not final; and when the newest event was: where the database ends."""
    with engine.connect() as connection:
        row = connection.execute(_COUNT_OPEN).one()
    return row.payouts, row.newest


def open_payouts(engine: Engine, last_id: int, limit: int) -> list[ClaimedKey]:
    """The next payouts that are not final, of every account."""
    with engine.connect() as connection:
        return [
            ClaimedKey(**row)
            for row in connection.execute(_OPEN, {"last": last_id, "limit": limit}).mappings()
        ]


def _deployment(row: RowMapping) -> Deployment:
    names = {"server": "server", "timeline": "timeline", "database": "database"}
    changed = [what for name, what in names.items() if row[name] != row[f"live_{name}"]]
    if not changed and row["written_by"] != row["live_written_by"]:
        changed = ["rows, which another transaction has written (a restore)"]
    difference = f"the database has another {', another '.join(changed)}" if changed else None
    return Deployment(
        row["token"],
        row["high_water"],
        row["epoch"],
        row["ask_first_until"],
        difference,
        row["marks_missed"],
    )
