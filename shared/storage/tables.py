"""The tables. What must never be untrue of a payout is a constraint of the database here.

SQLModel validates nothing on tables and NUMERIC rounds in silence: money is checked in
`shared.contract` before it comes here.
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


class Table(SQLModel):
    """The base of our tables, with names for constraints that a migration can rely on."""

    metadata = metadata


class Payout(Table, table=True):
    """One payout, one row; the fields are those of `shared.domain.payout.PayoutState`."""

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
        Index("payout_sent_idx", "currency", "first_sent_at"),
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


class PayoutEvent(Table, table=True):
    """One entry of a payout's journal; appended, never changed (law 7).

    Without a payout it is the record of a report that fits none of ours.
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
    """When something last ran through broker and worker: the sweep's sign of life."""

    __tablename__ = "payout_mark"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class PauseRow(Table, table=True):
    """One pause: who stopped new sends of what, when and why, and who let them go on."""

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


class ReconciliationDay(Table, table=True):
    """How far the comparison of one day's payouts with EPAY has come, and what it found."""

    __tablename__ = "payout_books"

    epay_account: str = Field(sa_column=Column(Text, primary_key=True))
    day: date = Field(sa_column=Column(Date, primary_key=True))
    last_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The payout up to which it has come."""
    agreed: int = Field(sa_type=Integer)
    differing: int = Field(sa_type=Integer)
    unanswered: int = Field(sa_type=Integer)
    started_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    finished_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))


class ArchivedEvents(Table, table=True):
    """Where the events of a payout up to that one have gone (`shared.storage.archive`)."""

    __tablename__ = "payout_archive"
    __table_args__ = (CheckConstraint("upto > 0", name="upto_positive"),)

    payout_id: int = Field(sa_column=Column(BigInteger, ForeignKey("payout.id"), primary_key=True))
    upto: int = Field(sa_type=Integer)
    hash: str = Field(sa_type=Text)
    """Of the last of them: the event that stayed names it as the one before it."""
    file: str = Field(sa_type=Text)
    archived_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class OutboxMessage(Table, table=True):  # type: ignore[no-redef]  # a column named kwargs
    """One message to an asking app, written with the change that it tells of (law 8)."""

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
