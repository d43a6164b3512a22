"""One payout as the pure code sees it, and one change of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    digest = journal.seal(
        previous,
        {
            "epay_account": after.epay_account,
            "merchant_order_no": after.merchant_order_no,
            "sequence": sequence,
            "kind": kind,
            "actor": actor,
            "at": journal.instant(now),
            "status_before": status_before,
            "status_after": after.status,
            "detail": detail,
        },
    )
    event = Event(sequence, kind, actor, now, status_before, after.status, detail, previous, digest)
    return Step(
        before,
        replace(after, sequence=sequence, journal_hash=digest, updated_at=now),
        event,
    )
