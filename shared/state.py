"""One payout as the pure code sees it, and one change of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shared import journal


class Status(StrEnum):
    """Where a payout stands (design section 2)."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    PROCESSING = "processing"
    PENDING_WITHDRAWAL = "pending_withdrawal"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CLOSED = "closed"
    FAILED_FEE_KEPT = "failed_fee_kept"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class PayoutState:
    """A row of the payout table. Times are aware; amounts are exact decimals."""

    epay_account: str
    merchant_order_no: str
    amount: Decimal
    currency: str
    channel_code: str
    account_no: str = field(repr=False)
    remark: str | None
    extend_fields: dict[str, str] | None
    notify: dict[str, Any] | None
    """{"task", "queue", "on"} of the asking app, or None."""
    status: Status
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime
    id: int = 0
    """0 until the row is on disk."""
    sequence: int = 0
    """How many events the payout has; every change of status compares and sets it."""
    journal_hash: str = journal.GENESIS
    nonce: str = field(default="", repr=False)
    """Random; makes the row's digest in the journal say nothing to who has not the row."""
    claim_id: str | None = None
    """Who took the payout for sending last: our own commit, its reply lost, is known by it."""
    attempts: int = 0
    """How often sending was begun."""
    first_sent_at: datetime | None = None
    """Begin of the first send that may have left; the resend horizon counts from here (law 3)."""
    last_sent_at: datetime | None = None
    queries: int = 0
    """Looks since the last send; the backoff's step."""
    absences: tuple[str, ...] = ()
    """When EPAY was asked and knew no such order, since the last send (law 3)."""
    refusal: str | None = None
    """EPAY's code and words for the last send, when it was refused (law 4)."""
    epay_order_no: str | None = None
    epay_status: str | None = None
    fee: Decimal | None = None
    review_reason: str | None = None
    review_since: datetime | None = None
    finished_at: datetime | None = None
    released_at: datetime | None = None
    """When a person let it pass the caps; they do not hold it again."""


_MOVING = {"id", "sequence", "journal_hash", "due_at", "queries", "updated_at"}
_ADDED = frozenset({"released_at"})
"""Came after the first payouts were written: in their digests only where there is something."""
_FIXED = tuple(sorted(f.name for f in fields(PayoutState) if f.name not in _MOVING | _ADDED))


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a payout's journal (law 7)."""

    sequence: int
    kind: str
    actor: str
    at: datetime
    status_before: Status | None
    status_after: Status
    detail: dict[str, Any]
    row_hash: str
    """The digest of the payout as this event left it."""
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Step:
    """A change of one payout: what it was, what it is to be, and the event that says why.

    Without an event only `due_at` moves.
    """

    before: PayoutState | None
    after: PayoutState
    event: Event | None = None
    once: bool = False
    """Not to be taken if the journal has an event that says the same: a replay changes nothing."""


def row_hash(payout: PayoutState) -> str:
    """The digest of what an event fixes of a payout: all but its clock and the journal itself."""
    fixed = {name: getattr(payout, name) for name in _FIXED}
    added = {name: getattr(payout, name) for name in _ADDED}
    return journal.digest(fixed | {name: value for name, value in added.items() if value})


def seal(event: Event, epay_account: str, merchant_order_no: str) -> str:
    """The hash that an event of this payout must bear."""
    return journal.seal(
        event.previous_hash,
        {
            "epay_account": epay_account,
            "merchant_order_no": merchant_order_no,
            "sequence": event.sequence,
            "kind": event.kind,
            "actor": event.actor,
            "at": event.at,
            "status_before": event.status_before,
            "status_after": event.status_after,
            "detail": event.detail,
            "row_hash": event.row_hash,
        },
    )


def record(  # what every change of a payout goes through
    before: PayoutState | None,
    after: PayoutState,
    *,
    kind: str,
    actor: str,
    now: datetime,
    detail: dict[str, Any],
) -> Step:
    """Make the step from `before` to `after` with its event, chained to the journal (law 7)."""
    sequence = (before.sequence if before else 0) + 1
    previous = before.journal_hash if before else journal.GENESIS
    status_before = before.status if before else None
    detail = {key: value for key, value in detail.items() if value is not None}
    unsealed = Event(
        sequence=sequence,
        kind=kind,
        actor=actor,
        at=now,
        status_before=status_before,
        status_after=after.status,
        detail=detail,
        row_hash=row_hash(after),
        previous_hash=previous,
        hash="",
    )
    digest = seal(unsealed, after.epay_account, after.merchant_order_no)
    event = replace(unsealed, hash=digest)
    return Step(
        before,
        replace(after, sequence=sequence, journal_hash=digest, updated_at=now),
        event,
    )
