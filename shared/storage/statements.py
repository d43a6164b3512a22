"""The SQL statements of the payout store, built from the columns of its tables.

INSERT and APPLY take payout rows, events and messages as JSON arrays, joined by `nth`: one
statement, hence one round trip and one commit, writes any number of payouts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from sqlalchemy import ColumnElement, Integer, Table, bindparam, literal_column, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from shared.domain.accounts import ConfiguredAccount, account_key
from shared.domain.cap_usage import NOT_COUNTED
from shared.domain.payout import SEALED, JournalEvent, PayoutState, Status
from shared.domain.transitions import FINAL, FINAL_EPAY_CODES
from shared.storage.tables import WITHOUT_RUIN, metadata

PAYOUT = metadata.tables["payout"]
EVENT = metadata.tables["payout_event"]
_FIELDS = [field.name for field in fields(PayoutState)]
_NEVER_CHANGED = (
    "id epay_account merchant_order_no amount currency channel_code account_no remark"
    " extend_fields notify nonce created_at order_scope"
)
INSERTED = [name for name in _FIELDS if name != "id"]
CHANGED = [name for name in _FIELDS if name not in _NEVER_CHANGED.split()]


def _typed(table: Table, names: Iterable[str]) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return ", ".join(f"{name} {table.c[name].type.compile(dialect=dialect)}" for name in names)


_EVENT_NAMES = [field.name for field in fields(JournalEvent)]
_MESSAGE = "task text, queue text, kwargs jsonb, created_at timestamptz"

_APPEND = f"""
journal AS (
    INSERT INTO payout_event (payout_id, {", ".join(_EVENT_NAMES)})
    SELECT moved.id, {", ".join(f"e.{name}" for name in _EVENT_NAMES)}
    FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS e(nth int, {_typed(EVENT, _EVENT_NAMES)})
    JOIN moved USING (nth)
), outbox AS (
    INSERT INTO payout_outbox (payout_id, task, queue, kwargs, created_at)
    SELECT moved.id, m.task, m.queue, m.kwargs, m.created_at
    FROM jsonb_to_recordset(CAST(:messages AS jsonb)) AS m(nth int, {_MESSAGE})
    JOIN moved USING (nth)
)
SELECT nth, id FROM moved
"""


def account_key_sql(row: str = "payout") -> str:
    """The SQL of `shared.domain.accounts.account_key` for the account of a row.

    Both give the same because an account is ASCII: `shared.contract` and the settings refuse any
    other. The collation keeps `lower` from the database's own language.
    """
    return f"lower(btrim({row}.epay_account, E' \\t\\r\\n') COLLATE \"C\")"


def is_account(account: str, row: str = "payout") -> ColumnElement[bool]:
    """Whether the row is of the account, however it is spelled."""
    key: ColumnElement[str] = literal_column(account_key_sql(row))
    return key == account_key(account)


def without_ruin_sql(row: str) -> str:
    """The SQL of `shared.identifiers.without_ruin` for the order number of a row."""
    return WITHOUT_RUIN.replace("merchant_order_no", f"{row}.merchant_order_no")


OF_ACCOUNT = (
    f"{account_key_sql()} = :account_key AND"
    " (CAST(:gateways AS text[]) IS NULL OR epay_gateway IS NULL OR epay_gateway = ANY(:gateways))"
)
"""The payouts of a configured account, however it was spelled, at its gateway (law 10)."""


def of_account(account: ConfiguredAccount) -> dict[str, object]:
    """The parameters of OF_ACCOUNT."""
    gateways = account.gateway and [account.gateway, *account.former_gateways]
    return {"account_key": account_key(account.account), "gateways": gateways}


LOCK_NUMBERS = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(order_no, 10))"
    " FROM unnest(CAST(:order_nos AS text[])) AS order_no"
)
INSERT = text(
    f"""
WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(nth int, {_typed(PAYOUT, INSERTED)})
), new AS (
    INSERT INTO payout ({", ".join(INSERTED)}) SELECT {", ".join(INSERTED)} FROM wanted
    WHERE 0 = (
        SELECT count(*) FROM payout p WHERE p.merchant_order_no = wanted.merchant_order_no
        AND (wanted.order_scope = '' OR {account_key_sql("p")} = {account_key_sql("wanted")})
    ) AND (CAST(:allow_alike AS boolean) OR (
        SELECT bool_or(p.merchant_order_no = wanted.merchant_order_no) FROM payout p
        WHERE {without_ruin_sql("p")} = {without_ruin_sql("wanted")}
    ) IS NOT FALSE)
    ORDER BY epay_account, merchant_order_no
    ON CONFLICT DO NOTHING
    RETURNING id, epay_account, merchant_order_no
), moved AS (
    SELECT wanted.nth, new.id FROM new JOIN wanted USING (epay_account, merchant_order_no)
), {_APPEND}"""
)
"""An order number that is not stored, and differs from a stored one only by a spreadsheet's doing,
is not inserted. Both subqueries find all by an index and stop at none: PostgreSQL would read the
table instead, where it has no statistics yet."""

_CHANGE = f"""
WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS w(nth int, id bigint, expected int, was text, once boolean, {_typed(PAYOUT, CHANGED)})
), moved AS (
    UPDATE payout p SET {", ".join(f"{name} = w.{name}" for name in CHANGED)}
    FROM wanted w WHERE p.id = w.id AND p.sequence = w.expected AND p.journal_hash = w.was
    AND NOT (w.once AND EXISTS (
        SELECT FROM payout_event old
        JOIN jsonb_to_recordset(CAST(:events AS jsonb)) AS e(nth int, kind text, detail jsonb)
        ON e.nth = w.nth AND e.kind = old.kind AND e.detail = old.detail
        WHERE old.payout_id = w.id
    ))
    RETURNING w.nth, p.id
), """

APPLY = text(_CHANGE + _APPEND)

APPLY_CAPPED = text(
    f"""{_CHANGE}
cap AS (
    INSERT INTO payout_cap_sum AS s (epay_account, currency, hour, amount)
    SELECT c.epay_account, c.currency, c.hour, sum(c.amount)
    FROM jsonb_to_recordset(CAST(:sums AS jsonb))
    AS c(nth int, epay_account text, currency text, hour timestamptz, amount numeric)
    JOIN moved USING (nth)
    WHERE c.amount > 0 OR EXISTS (
        SELECT FROM payout_cap_sum o
        WHERE (o.epay_account, o.currency, o.hour) = (c.epay_account, c.currency, c.hour)
    )
    GROUP BY c.epay_account, c.currency, c.hour ORDER BY c.epay_account, c.currency, c.hour
    ON CONFLICT (epay_account, currency, hour) DO UPDATE SET amount = s.amount + excluded.amount
), {_APPEND}"""
)
"""APPLY, and the sums by the hour: what is added to them, or given back to one that is kept."""

_PSYCOPG = PGDialect_psycopg()  # type: ignore[no-untyped-call]
DRIVER = {
    statement: str(statement.compile(dialect=_PSYCOPG))
    for statement in (INSERT, APPLY, APPLY_CAPPED)
}
"""The most frequent statements as psycopg takes them."""

CLAIM_DUE = text(
    """
WITH mark AS (
    INSERT INTO payout_mark (name, at) VALUES ('sweep', clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET at = excluded.at
    WHERE payout_mark.at NOT BETWEEN excluded.at - CAST(:spacing AS interval) AND excluded.at
    RETURNING name
)
UPDATE payout SET due_at = :until WHERE EXISTS (SELECT FROM mark) AND id IN (
    SELECT id FROM payout WHERE due_at <= :now AND status <> 'submitting'
    AND status <> ALL(CAST(:left_out AS text[]))
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
) RETURNING id, merchant_order_no, status, epay_account, epay_gateway
"""
)

CAP_LOCK = text("SELECT pg_advisory_xact_lock(:key, hashtext(:currency))")
_NOT_COUNTED = ", ".join(f"'{status}'" for status in sorted(NOT_COUNTED))
_COUNTED = (
    f"FROM payout WHERE {account_key_sql()} = :epay_account AND currency = :currency"
    f" AND status NOT IN ({_NOT_COUNTED})"
)
SENT_SINCE = text(
    "SELECT (SELECT coalesce(sum(amount), 0) FROM payout_cap_sum"
    " WHERE epay_account = :epay_account AND currency = :currency AND hour > :since)"
    f" + (SELECT coalesce(sum(amount), 0) {_COUNTED}"
    " AND first_sent_at > :since AND first_sent_at < :next_hour)"
)
"""The full hours by their sums, the payouts of the hour that has begun to leave one by one.

The account is given, and kept with the sums, as `shared.domain.accounts.account_key`.
"""
FORGET_SUMS = text(
    "DELETE FROM payout_cap_sum WHERE epay_account = :epay_account AND currency = :currency"
)
SUM_HOURS = text(
    "INSERT INTO payout_cap_sum (epay_account, currency, hour, amount)"
    " SELECT :epay_account, :currency, date_trunc('hour', first_sent_at, 'UTC'), sum(amount)"
    f" {_COUNTED} AND first_sent_at > :since GROUP BY 3"
)

EXPIRED_LEASES = (
    select(PAYOUT)
    .where(PAYOUT.c.due_at <= text(":now"), PAYOUT.c.status == Status.SUBMITTING)
    .order_by(PAYOUT.c.due_at)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update(skip_locked=True)
)

_AMONG = text("id = ANY(CAST(:ids AS bigint[]))")
BY_IDS = select(PAYOUT).where(_AMONG).order_by(PAYOUT.c.id)
BY_NUMBER = select(PAYOUT).where(text("merchant_order_no = :order_no")).order_by(PAYOUT.c.id)
BY_NUMBER_OF_ACCOUNT_FIRST = (
    select(PAYOUT)
    .where(text("merchant_order_no = :order_no"))
    .order_by(text(f"{account_key_sql()} = :account_key DESC"), PAYOUT.c.id)
    .limit(1)
)
WITHOUT_GATEWAY = text(
    "SELECT id FROM payout WHERE due_at IS NOT NULL AND epay_gateway IS NULL AND id > :last"
    " ORDER BY id LIMIT :limit"
)
OVERDUE = (
    select(PAYOUT)
    .where(
        PAYOUT.c.due_at.is_not(None),
        PAYOUT.c.status.in_([status.value for status in Status if status not in FINAL]),
        PAYOUT.c.review_reason.is_(None),
        PAYOUT.c.created_at <= text(":before"),
    )
    .order_by(PAYOUT.c.created_at)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update(skip_locked=True)
)
"""Open payouts without a review reason that are too old (law 16)."""

KEYS_BY_IDS = (
    select(
        PAYOUT.c.id,
        PAYOUT.c.merchant_order_no,
        PAYOUT.c.status,
        PAYOUT.c.epay_account,
        PAYOUT.c.epay_gateway,
    )
    .where(_AMONG)
    .order_by(PAYOUT.c.id)
)

NEWEST_ENDED = (
    select(PAYOUT)
    .where(
        PAYOUT.c.due_at.is_(None),
        PAYOUT.c.epay_status.in_(sorted(FINAL_EPAY_CODES)),
        PAYOUT.c.review_reason.is_(None),
        text(OF_ACCOUNT),
        PAYOUT.c.last_sent_at <= text(":sent_before"),
        text("id <> ALL(CAST(:without AS bigint[]))"),
    )
    .order_by(PAYOUT.c.id.desc())
    .limit(1)
)

UNMATCHED_EVENT = text(
    "INSERT INTO payout_event (kind, actor, at, detail)"
    " VALUES (:kind, :actor, :at, CAST(:detail AS jsonb))"
)

STORED_ACCOUNTS = text(
    "SELECT id, account_no, EXISTS (SELECT FROM payout_event e WHERE e.payout_id = p.id"
    f" AND e.sequence = p.sequence AND e.detail ? '{SEALED}') AS is_sealed"
    " FROM payout p WHERE id > :last ORDER BY id LIMIT :limit FOR UPDATE"
)
REENCRYPT = text(
    """
UPDATE payout p SET account_no = w.account_no
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(id bigint, account_no text) WHERE p.id = w.id
"""
)

ADD_MESSAGES = text(
    f"""
INSERT INTO payout_outbox (payout_id, task, queue, kwargs, created_at)
SELECT m.payout_id, m.task, m.queue, m.kwargs, m.created_at
FROM jsonb_to_recordset(CAST(:messages AS jsonb)) AS m(payout_id bigint, {_MESSAGE})
"""
)

RELAY_TRY = text("SELECT pg_try_advisory_xact_lock(:key)")
UNSENT = text(
    "SELECT id, payout_id, task, queue, kwargs FROM payout_outbox WHERE sent_at IS NULL"
    " ORDER BY id LIMIT :limit"
)
UNSENT_BESIDE = text(
    """
SELECT id, payout_id, task, queue, kwargs FROM payout_outbox o
WHERE sent_at IS NULL AND queue <> ALL(CAST(:refused AS text[])) AND NOT EXISTS (
    SELECT FROM payout_outbox earlier WHERE earlier.payout_id = o.payout_id AND earlier.id < o.id
    AND earlier.sent_at IS NULL AND earlier.queue = ANY(CAST(:refused AS text[]))
) ORDER BY id LIMIT :limit
"""
)
"""The unsent messages of the other queues, without those that follow one that was refused."""
SENT = text("UPDATE payout_outbox SET sent_at = :now WHERE id = ANY(CAST(:ids AS bigint[]))")
