"""One payout as the pure code sees it, and one change of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any

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


_MOVING = {"id", "sequence", "journal_hash", "due_at", "queries", "updated_at"}
_ADDED = frozenset({"released_at"})
"""Came after the first payouts were written: in their digests only where there is something."""
_FIXED = tuple(sorted(f.name for f in fields(PayoutState) if f.name not in _MOVING | _ADDED))

_PUT = {f.name: getattr(PayoutState, f.name).__set__ for f in fields(PayoutState)}
_values_of = attrgetter(*_PUT)
_fixed_of = attrgetter(*_FIXED)

if TYPE_CHECKING:  # names and types of the values are checked as those of dataclasses.replace
    from dataclasses import replace as replace  # noqa: PLC0414 - for others to import
else:

    def replace(payout: PayoutState, **values: Any) -> PayoutState:
        """The payout with other values: `dataclasses.replace` at less than half of its cost.

        Every payout pays for some ten of them.
        """
        new = object.__new__(PayoutState)
        for put, value in zip(_PUT.values(), _values_of(payout), strict=True):
            put(new, value)
        for name, value in values.items():
            _PUT[name](new, value)
        return new


PROPOSED = "proposed"
"""The kind of the event that records an action waiting for approval."""


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


_SEALED_FIELDS = tuple(f.name for f in fields(Event) if f.name not in {"previous_hash", "hash"})
"""What an event's hash is made of, beside the hash before it."""


@dataclass(frozen=True, slots=True)
class Transition:
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
    told = dict(zip(_FIXED, _fixed_of(payout), strict=True))
    for name in _ADDED:
        if value := getattr(payout, name):
            told[name] = value
    return hash_chain.digest(told)


def seal(event: Event, epay_account: str, merchant_order_no: str) -> str:
    """The hash that an event of this payout must bear."""
    told = {name: getattr(event, name) for name in _SEALED_FIELDS}
    return _seal(event.previous_hash, epay_account, merchant_order_no, told)


def _seal(previous: str, epay_account: str, merchant_order_no: str, told: dict[str, Any]) -> str:
    payout = {"epay_account": epay_account, "merchant_order_no": merchant_order_no}
    return hash_chain.seal(previous, {**payout, **told})


def make_transition(  # what every change of a payout goes through
    before: PayoutState | None,
    after: PayoutState,
    *,
    kind: str,
    actor: str,
    now: datetime,
    detail: dict[str, Any],
) -> Transition:
    """Make the step from `before` to `after` with its event, chained to the journal (law 7)."""
    sequence = (before.sequence if before else 0) + 1
    previous = before.journal_hash if before else hash_chain.GENESIS
    told: dict[str, Any] = {
        "sequence": sequence,
        "kind": kind,
        "actor": actor,
        "at": now,
        "status_before": before.status if before else None,
        "status_after": after.status,
        "detail": {key: value for key, value in detail.items() if value is not None},
        "row_hash": row_hash(after),
    }
    digest = _seal(previous, after.epay_account, after.merchant_order_no, told)
    return Transition(
        before,
        replace(after, sequence=sequence, journal_hash=digest, updated_at=now),
        Event(**told, previous_hash=previous, hash=digest),
    )
