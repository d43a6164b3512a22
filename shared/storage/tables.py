"""The tables, with the invariants of a payout as constraints.

SQLModel does not validate table models and NUMERIC rounds silently: `shared.contract` validates
amounts before they are stored.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.contract import AMOUNT_DIGITS, AMOUNT_SCALE
from shared.domain.payout import Status
from shared.domain.transitions import FINAL

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


def _in(statuses: list[Status]) -> str:
    return ", ".join(f"'{status.value}'" for status in sorted(statuses))


_ALL = _in(list(Status))
_ENDS = _in(list(FINAL))

WITHOUT_RUIN = r"regexp_replace(lower(merchant_order_no), '^0+|\.0*$', '', 'g')"
"""`shared.identifiers.without_ruin` in SQL: what alike order numbers have in common."""


class Table(SQLModel):
    """The base of our tables; its naming convention gives constraints the migrations' names."""

    metadata = metadata


class Payout(Table, table=True):
    """A payout; the columns are the fields of `shared.domain.payout.PayoutState`."""

    __tablename__ = "payout"
    __table_args__ = (
        UniqueConstraint("epay_account", "merchant_order_no"),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint(f"status IN ({_ALL})", name="status_known"),
        CheckConstraint(f"(due_at IS NULL) = (status IN ({_ENDS}))", name="due_unless_final"),
        CheckConstraint(
            f"(finished_at IS NULL) <> (status IN ({_ENDS}))", name="finished_if_final"
        ),
        CheckConstraint(
            "status <> 'submitting' OR (claim_id IS NOT NULL AND last_sent_at IS NOT NULL)",
            name="submitting_is_claimed",
        ),
        CheckConstraint("sequence > 0", name="has_event"),
        CheckConstraint(
            "(review_reason IS NULL) = (review_since IS NULL)", name="review_has_since"
        ),
        Index("payout_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "payout_review_idx",
            "review_since",
            postgresql_where=text("review_reason IS NOT NULL"),
        ),
        Index("payout_created_idx", "created_at"),
        Index(
            "payout_finished_idx",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        Index(
            "payout_open_idx",
            "status",
            "created_at",
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("payout_sent_idx", "currency", "first_sent_at"),
        Index("payout_alike_idx", text(WITHOUT_RUIN)),
        Index("payout_order_idx", "merchant_order_no", "order_scope", unique=True),
    )

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    epay_account: str = Field(sa_type=Text)
    merchant_order_no: str = Field(sa_type=Text)
    amount: Decimal = Field(sa_column=Column(Numeric(AMOUNT_DIGITS, AMOUNT_SCALE), nullable=False))
    currency: str = Field(sa_type=Text)
    channel_code: str = Field(sa_type=Text)
    account_no: str = Field(sa_type=Text, repr=False)
    remark: str | None = Field(default=None, sa_type=Text)
    extend_fields: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    notify: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    status: str = Field(sa_type=Text)
    due_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    sequence: int = Field(sa_type=Integer)
    journal_hash: str = Field(sa_type=Text)
    nonce: str = Field(sa_type=Text, repr=False)
    claim_id: str | None = Field(default=None, sa_type=Text)
    attempts: int = Field(sa_type=Integer)
    first_sent_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    last_sent_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    queries: int = Field(sa_type=Integer)
    absences: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    refusal: str | None = Field(default=None, sa_type=Text)
    epay_order_no: str | None = Field(default=None, sa_type=Text)
    epay_status: str | None = Field(default=None, sa_type=Text)
    fee: Decimal | None = Field(default=None, sa_column=Column(Numeric))
    review_reason: str | None = Field(default=None, sa_type=Text)
    review_since: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    finished_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    released_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    epay_gateway: str | None = Field(default=None, sa_type=Text)
    order_scope: str | None = Field(default=None, sa_type=Text)


class PayoutEvent(Table, table=True):
    """An entry of a payout's journal; appended, never changed (law 7).

    An entry without a payout records a report that matches none.
    """

    __tablename__ = "payout_event"
    __table_args__ = (
        UniqueConstraint("payout_id", "sequence"),
        CheckConstraint("(payout_id IS NULL) = (sequence IS NULL)", name="sequence_within_payout"),
    )

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    payout_id: int | None = Field(sa_column=Column(BigInteger, ForeignKey("payout.id")))
    sequence: int | None = Field(sa_column=Column(Integer))
    kind: str = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    status_before: str | None = Field(default=None, sa_type=Text)
    status_after: str | None = Field(default=None, sa_type=Text)
    detail: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    row_hash: str | None = Field(default=None, sa_type=Text)
    previous_hash: str | None = Field(default=None, sa_type=Text)
    hash: str | None = Field(default=None, sa_type=Text)


class Heartbeat(Table, table=True):
    """When a periodic job last ran, by name; the sweep's row is its heartbeat."""

    __tablename__ = "payout_mark"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class PolicyRecord(Table, table=True):
    """The settings by which the workers decide (`shared.storage.policy_record`)."""

    __tablename__ = "payout_policy"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    fingerprint: str = Field(sa_type=Text)
    settings: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class CapSum(Table, table=True):
    """What was sent in an account and currency within an hour, where a cap for a day is set."""

    __tablename__ = "payout_cap_sum"

    epay_account: str = Field(sa_column=Column(Text, primary_key=True))
    currency: str = Field(sa_column=Column(Text, primary_key=True))
    hour: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    amount: Decimal = Field(sa_column=Column(Numeric, nullable=False))


class PauseRow(Table, table=True):
    """A pause of new sends: its scope, and who set and lifted it, when and why."""

    __tablename__ = "payout_brake"
    __table_args__ = (
        CheckConstraint("(lifted_at IS NULL) = (lifted_by IS NULL)", name="lifted_by_somebody"),
        Index("payout_brake_active_idx", "id", postgresql_where=text("lifted_at IS NULL")),
    )

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    epay_account: str | None = Field(default=None, sa_type=Text)
    channel_code: str | None = Field(default=None, sa_type=Text)
    currency: str | None = Field(default=None, sa_type=Text)
    set_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    set_by: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    lifted_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    lifted_by: str | None = Field(default=None, sa_type=Text)
    lifted_reason: str | None = Field(default=None, sa_type=Text)
    code: str | None = Field(default=None, sa_type=Text)
    """Set for a pause that the service set by itself, for example `database_changed`."""


class ReconciliationDay(Table, table=True):
    """The progress and the counts of one day's reconciliation with EPAY."""

    __tablename__ = "payout_books"

    epay_account: str = Field(sa_column=Column(Text, primary_key=True))
    day: date = Field(sa_column=Column(Date, primary_key=True))
    last_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Cursor: the last payout compared."""
    agreed: int = Field(sa_type=Integer)
    differing: int = Field(sa_type=Integer)
    unanswered: int = Field(sa_type=Integer)
    started_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    finished_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))


class RefusedRequest(Table, table=True):
    """A request that was refused as invalid; `refused_requests` keeps the newest ones only."""

    __tablename__ = "payout_refused"

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    source: str = Field(sa_type=Text)
    """The process that sent it, as its message says; may be empty."""
    merchant_order_no: str = Field(sa_type=Text)
    """As far as it may be repeated; may be empty."""
    account_no: str = Field(sa_type=Text)
    """Masked."""
    code: str = Field(sa_type=Text)
    field: str = Field(sa_type=Text)
    message: str = Field(sa_type=Text)


class ArchivedEvents(Table, table=True):
    """The file to which a payout's events up to `upto` were moved (`shared.storage.archive`)."""

    __tablename__ = "payout_archive"
    __table_args__ = (CheckConstraint("upto > 0", name="upto_positive"),)

    payout_id: int = Field(sa_column=Column(BigInteger, ForeignKey("payout.id"), primary_key=True))
    upto: int = Field(sa_type=Integer)
    hash: str = Field(sa_type=Text)
    """The hash of event `upto`, which the event that stays in the database refers to."""
    file: str = Field(sa_type=Text)
    archived_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class OutboxMessage(Table, table=True):  # type: ignore[no-redef]  # a column named kwargs
    """A message to a requesting app, written with the change that it reports (law 8)."""

    __tablename__ = "payout_outbox"
    __table_args__ = (
        Index("payout_outbox_unsent_idx", "id", postgresql_where=text("sent_at IS NULL")),
        Index("payout_outbox_payout_idx", "payout_id"),
    )

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    payout_id: int | None = Field(sa_column=Column(BigInteger, ForeignKey("payout.id")))
    task: str = Field(sa_type=Text)
    queue: str = Field(sa_type=Text)
    kwargs: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    sent_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))


class DeploymentRow(Table, table=True):
    """Which database this is, and how far it has come (`shared.storage.deployment`): one row."""

    __tablename__ = "payout_deployment"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    token: str = Field(sa_type=Text)
    high_water: int = Field(sa_column=Column(BigInteger, nullable=False))
    epoch: int = Field(sa_type=Integer)
    ask_first_until: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    server: str = Field(sa_type=Text)
    timeline: str = Field(sa_type=Text)
    database: int = Field(sa_column=Column(BigInteger, nullable=False))
    written_by: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The transaction that wrote the row, as `xmin` shows it."""
