"""The statuses, the allowed moves between them, and how a change becomes an event. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from shared.domain import hash_chain, review
from shared.domain.payout import (
    SEALED,
    JournalEvent,
    PayoutState,
    Status,
    Transition,
    UnreadableAccount,
    event_hash,
    row_hash,
)

FINAL = frozenset(
    {
        Status.SUCCEEDED,
        Status.FAILED,
        Status.CANCELLED,
        Status.CLOSED,
        Status.FAILED_FEE_KEPT,
        Status.REJECTED,
    }
)

STATUS_OF_EPAY_CODE: Mapping[str, Status] = MappingProxyType(
    {
        "0": Status.PROCESSING,
        "1": Status.PROCESSING,
        "5": Status.CANCELLED,
        "6": Status.FAILED,
        "7": Status.SUCCEEDED,
        "8": Status.CLOSED,
        "9": Status.PROCESSING,
        "11": Status.PROCESSING,
        "19": Status.PENDING_WITHDRAWAL,
        "20": Status.FAILED_FEE_KEPT,
    }
)
"""EPAY's status code -> our status (docs/epay-gateway.md section 6); any other is processing."""

STATUSES_EPAY_REPORTS = frozenset(STATUS_OF_EPAY_CODE.values())

FINAL_EPAY_CODES = frozenset(code for code, end in STATUS_OF_EPAY_CODE.items() if end in FINAL)
"""EPAY's status codes of an order that it ended."""

TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.QUEUED: STATUSES_EPAY_REPORTS | {Status.SUBMITTING, Status.REJECTED},
        Status.SUBMITTING: STATUSES_EPAY_REPORTS | {Status.QUEUED, Status.UNKNOWN, Status.REJECTED},
        Status.UNKNOWN: STATUSES_EPAY_REPORTS | {Status.QUEUED, Status.REJECTED},
        Status.PROCESSING: STATUSES_EPAY_REPORTS - {Status.PROCESSING},
        Status.PENDING_WITHDRAWAL: STATUSES_EPAY_REPORTS - {Status.PENDING_WITHDRAWAL},
        **dict.fromkeys(FINAL, frozenset()),
    }
)
"""The allowed changes of status; keeping a status is always allowed."""


class IllegalTransition(Exception):
    """A change of status that is not in `TRANSITIONS`: a defect in the code."""


def status_from_epay(epay_status: str | None) -> Status:
    """Our status for an EPAY status code; one that is not documented is not final."""
    return STATUS_OF_EPAY_CODE.get(epay_status or "", Status.PROCESSING)


def transition(payout: PayoutState, status: Status) -> PayoutState:
    """Change the payout's status.

    Raises:
        IllegalTransition: `TRANSITIONS` does not allow it.
    """
    if status is payout.status:
        return payout
    if status not in TRANSITIONS[payout.status]:
        raise IllegalTransition(f"{payout.status} -> {status}")
    return replace(payout, status=status)


def finish(payout: PayoutState, status: Status, now: datetime) -> PayoutState:
    """Make the payout final: nothing is due any more. Every final status is set here (law 7)."""
    ended = replace(transition(payout, status), due_at=None, finished_at=now)
    return review.clear_if_resolved(ended)


def make_transition(
    before: PayoutState | None,
    after: PayoutState,
    *,
    kind: str,
    actor: str,
    now: datetime,
    detail: dict[str, Any],
) -> Transition:
    """Make the transition from `before` to `after` with its event, chained to the journal (law 7).

    A review reason whose code stays keeps its date.
    """
    if before is not None:
        after = review.keep_review_since(after, before)
    if isinstance(after.account_no, UnreadableAccount):
        detail = {**detail, SEALED: "the account number as it is stored"}
    unhashed = JournalEvent(
        sequence=(before.sequence if before else 0) + 1,
        kind=kind,
        actor=actor,
        at=now,
        status_before=before.status if before else None,
        status_after=after.status,
        detail={key: value for key, value in detail.items() if value is not None},
        row_hash=row_hash(after),
        previous_hash=before.journal_hash if before else hash_chain.GENESIS,
        hash="",
    )
    digest = event_hash(unhashed, after.epay_account, after.merchant_order_no)
    recorded = replace(after, sequence=unhashed.sequence, journal_hash=digest, updated_at=now)
    return Transition(before, recorded, replace(unhashed, hash=digest))
