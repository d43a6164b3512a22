"""The statuses, the moves that are allowed between them, and the one way to an end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from shared.domain import review
from shared.domain.payout import PayoutState, Status, replace

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

EPAY_STATUS: Mapping[str, Status] = MappingProxyType(
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

BY_EPAY = frozenset(EPAY_STATUS.values())

MOVES: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.QUEUED: BY_EPAY | {Status.SUBMITTING, Status.REJECTED},
        Status.SUBMITTING: BY_EPAY | {Status.QUEUED, Status.UNKNOWN, Status.REJECTED},
        Status.UNKNOWN: BY_EPAY | {Status.QUEUED, Status.REJECTED},
        Status.PROCESSING: BY_EPAY - {Status.PROCESSING},
        Status.PENDING_WITHDRAWAL: BY_EPAY - {Status.PENDING_WITHDRAWAL},
        **dict.fromkeys(FINAL, frozenset()),
    }
)
"""Every move that is allowed; staying is always allowed."""


class ForbiddenMove(Exception):
    """The code asked for a move that is not in `MOVES`: a defect, never a state of the world."""


def meaning(epay_status: str) -> Status:
    """What an EPAY status code says; a code that nobody documented is not an end."""
    return EPAY_STATUS.get(epay_status, Status.PROCESSING)


def move(payout: PayoutState, status: Status) -> PayoutState:
    """Give the payout a status that it may go to.

    Raises:
        ForbiddenMove: it may not.
    """
    if status is payout.status:
        return payout
    if status not in MOVES[payout.status]:
        msg = f"{payout.status} -> {status}"
        raise ForbiddenMove(msg)
    return replace(payout, status=status)


def finish(payout: PayoutState, status: Status, now: datetime) -> PayoutState:
    """The one way to an end: nothing is due any more, and what healed by ending is not flagged."""
    ended = replace(move(payout, status), due_at=None, finished_at=now)
    return review.heal(ended)
