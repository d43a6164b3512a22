"""One payout as the pure code sees it, and one change of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shared.domain import hash_chain


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
    journal_hash: str = hash_chain.GENESIS
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


_NOT_HASHED = {"id", "sequence", "journal_hash", "due_at", "queries", "updated_at"}
"""Changes without an event, or is the journal itself."""
_HASHED_IF_SET = {"released_at"}
"""Younger than the first journals: part of a digest only where it has a value."""
_HASHED = sorted({f.name for f in fields(PayoutState)} - _NOT_HASHED - _HASHED_IF_SET)


PROPOSED = "proposed"
"""The kind of the event that records an action waiting for approval."""


@dataclass(frozen=True, slots=True)
class JournalEvent:
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


_HASHED_OF_EVENT = [f.name for f in fields(JournalEvent) if f.name not in {"previous_hash", "hash"}]


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of one payout: what it was, what it is to be, and the event that says why.

    Without an event only `due_at` moves.
    """

    before: PayoutState | None
    after: PayoutState
    event: JournalEvent | None = None
    once: bool = False
    """Not to be taken if the journal has an event that says the same: a replay changes nothing."""


def row_hash(payout: PayoutState) -> str:
    """The digest of a payout in its journal: every field that an event fixes."""
    hashed = {name: getattr(payout, name) for name in _HASHED}
    hashed |= {name: value for name in _HASHED_IF_SET if (value := getattr(payout, name))}
    return hash_chain.digest(hashed)


def event_hash(event: JournalEvent, epay_account: str, merchant_order_no: str) -> str:
    """The hash that an event of this payout must have (law 7)."""
    hashed = {name: getattr(event, name) for name in _HASHED_OF_EVENT}
    hashed |= {"epay_account": epay_account, "merchant_order_no": merchant_order_no}
    return hash_chain.chain_hash(event.previous_hash, hashed)
