"""One payout, one change of it, and the journal event that records the change (law 7). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shared.domain import hash_chain


class Status(StrEnum):
    """The status of a payout; docs/lifecycle.md says what each means."""

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


class UnreadableAccount(str):
    """The stored form of an account number that none of our keys decrypts; never sent (law 15)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PayoutState:
    """A row of the table `payout`. Times have a time zone; amounts are exact decimals."""

    epay_account: str
    merchant_order_no: str
    amount: Decimal
    currency: str
    channel_code: str
    account_no: str = field(repr=False)
    remark: str | None
    extend_fields: dict[str, str] | None
    notify: dict[str, Any] | None
    """The requesting app's {"task", "queue", "on"}, or None."""
    status: Status
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime
    id: int = 0
    """0 until the row is stored."""
    sequence: int = 0
    """The number of the payout's events; compare-and-set checks it at every change."""
    journal_hash: str = hash_chain.GENESIS
    nonce: str = field(default="", repr=False)
    """Random; keeps the row's digest in the journal from being guessed without the row."""
    claim_id: str | None = None
    """The execution that last claimed the payout for sending; identifies our own lost commit."""
    attempts: int = 0
    """How often the payout was claimed for sending."""
    first_sent_at: datetime | None = None
    """When the first send that may have left began; the resend horizon starts here (law 3)."""
    last_sent_at: datetime | None = None
    queries: int = 0
    """Queries since the last send; the position in the backoff."""
    absences: tuple[str, ...] = ()
    """Times of queries since the last send that EPAY answered with "no such order" (law 3)."""
    refusal: str | None = None
    """EPAY's code and message if it refused the last send (law 4)."""
    epay_order_no: str | None = None
    epay_status: str | None = None
    fee: Decimal | None = None
    review_reason: str | None = None
    review_since: datetime | None = None
    finished_at: datetime | None = None
    released_at: datetime | None = None
    """When a person released it from the caps, which do not hold it again."""
    epay_gateway: str | None = None
    """The gateway that it is sent to; None: accepted before gateways were recorded (law 10)."""
    order_scope: str | None = None
    """Within what its merchant_order_no is unique: an account's key, or "" for all accounts."""


_NOT_HASHED = {"id", "sequence", "journal_hash", "due_at", "queries", "updated_at"}
"""Fields that change without an event, or belong to the journal itself."""
_HASHED_IF_SET = {"released_at", "epay_gateway", "order_scope"}
"""Fields younger than the first journals: part of a digest only if they have a value."""
SEALED = "sealed"
"""In the detail of an event: its digest covers the stored form of an unreadable account number."""
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
    """The digest of the payout after this event."""
    previous_hash: str
    hash: str


_HASHED_OF_EVENT = [f.name for f in fields(JournalEvent) if f.name not in {"previous_hash", "hash"}]


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of one payout: its state before and after, and the event that records it.

    Without an event only `due_at` changes. `before` is None for a new payout.
    """

    before: PayoutState | None
    after: PayoutState
    event: JournalEvent | None = None
    skip_if_already_recorded: bool = False
    """Not applied if the journal has an equal event: a replay changes nothing."""


def row_hash(payout: PayoutState) -> str:
    """The digest of a payout that its events record."""
    hashed = {name: getattr(payout, name) for name in _HASHED}
    hashed |= {name: value for name in _HASHED_IF_SET if (value := getattr(payout, name))}
    return hash_chain.digest(hashed)


def event_hash(event: JournalEvent, epay_account: str, merchant_order_no: str) -> str:
    """The hash that an event of this payout must have (law 7)."""
    hashed = {name: getattr(event, name) for name in _HASHED_OF_EVENT}
    hashed |= {"epay_account": epay_account, "merchant_order_no": merchant_order_no}
    return hash_chain.chain_hash(event.previous_hash, hashed)
