"""The statuses, the allowed moves between them, and how a change becomes an event. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from shared.domain import hash_chain, review
from shared.domain.payout import JournalEvent, PayoutState, Status, Transition, event_hash, row_hash

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
"""EPAY's order status -> ours (epay-gateway section 6). A code that is not here is processing."""

STATUSES_EPAY_REPORTS = frozenset(STATUS_OF_EPAY_CODE.values())

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
"""Every move that is allowed; staying is always allowed."""


class IllegalTransition(Exception):
    """The code asked for a move that is not in `MOVES`: a defect, never a state of the world."""


def status_from_epay(epay_status: str) -> Status:
    """What an EPAY status code says; a code that nobody documented is not an end."""
    return STATUS_OF_EPAY_CODE.get(epay_status, Status.PROCESSING)


def transition(payout: PayoutState, status: Status) -> PayoutState:
    """Give the payout a status that it may go to.

    Raises:
        ForbiddenMove: it may not.
    """
    if status is payout.status:
        return payout
    if status not in TRANSITIONS[payout.status]:
        msg = f"{payout.status} -> {status}"
        raise IllegalTransition(msg)
    return replace(payout, status=status)


def finish(payout: PayoutState, status: Status, now: datetime) -> PayoutState:
    """The one way to an end: nothing is due any more, and what healed by ending is not flagged."""
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

    A reason for review that stays keeps its date.
    """
    if before is not None:
        after = review.keep_review_since(after, before)
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
