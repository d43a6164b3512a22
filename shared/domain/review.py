"""Why a person must look at a payout: how a reason is set, and which clear themselves. Pure.

`review_reason` is `<code>: <message>`; docs/operations.md says for each code what to do.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.domain.payout import PayoutState

MISMATCH = "mismatch"
SECOND_ORDER = "second_order"
CONTRADICTION = "contradiction"
CREATE_REFUSED = "create_refused"
QUERY_REFUSED = "query_refused"
RESEND_HORIZON = "resend_horizon"
VANISHED = "vanished"
UNDOCUMENTED_STATUS = "undocumented_status"
ABNORMAL = "abnormal"
OVERDUE = "overdue"
UNSENT = "unsent"
ABOVE_CAP = "above_cap"
ABOVE_DAY_CAP = "above_day_cap"
BOOKS = "books"
UNREADABLE = "unreadable"
ACCOUNT_NOT_CONFIGURED = "account_not_configured"
NO_CONTROL = "no_control"
UNANSWERED = "unanswered"

HELD = frozenset({ABOVE_CAP, ABOVE_DAY_CAP})
"""Reasons that keep a payout from being sent until a person releases it."""

STICKY = frozenset({MISMATCH, SECOND_ORDER, CONTRADICTION, BOOKS})
"""Reasons about money that only a person can clear; a later report does not."""

ABOUT_QUERIES = frozenset({QUERY_REFUSED, NO_CONTROL, UNANSWERED})
"""Reasons that an answer which counts resolves."""

_MAX_MESSAGE_LENGTH = 300


def code_of(reason: str) -> str:
    """The code of a review reason."""
    return reason.partition(":")[0]


def flag(payout: PayoutState, code: str, message: str, now: datetime) -> PayoutState:
    """Set the review reason; a sticky one is replaced only by another sticky one.

    A second order at EPAY can mean a second payment: no other reason replaces it. The same code
    again keeps its date.
    """
    standing = code_of(payout.review_reason or "")
    if standing in STICKY and code not in STICKY:
        return payout
    if standing == SECOND_ORDER != code:
        return payout
    is_same = standing == code
    return replace(
        payout,
        review_reason=f"{code}: {message[:_MAX_MESSAGE_LENGTH]}",
        review_since=payout.review_since if is_same else now,
    )


def clear_if_resolved(payout: PayoutState, *, ended: bool = True) -> PayoutState:
    """Clear a reason that progress has resolved; OVERDUE only at the end, a sticky one never."""
    if payout.review_reason is None or is_sticky(payout):
        return payout
    if not ended and code_of(payout.review_reason) == OVERDUE:
        return payout
    return clear_review(payout)


def is_sticky(payout: PayoutState) -> bool:
    """Whether only a person can clear the payout's review reason."""
    return payout.review_reason is not None and code_of(payout.review_reason) in STICKY


def awaits_release(payout: PayoutState) -> bool:
    """Whether a person must release the payout before it is sent."""
    return payout.review_reason is not None and code_of(payout.review_reason) in HELD


def clear_review(payout: PayoutState) -> PayoutState:
    """Remove the review reason, whatever it is."""
    return replace(payout, review_reason=None, review_since=None)


def clear_code(payout: PayoutState, code: str) -> PayoutState:
    """Remove the review reason if it has this code."""
    is_it = payout.review_reason is not None and code_of(payout.review_reason) == code
    return clear_review(payout) if is_it else payout


def same_reason(payout: PayoutState, before: PayoutState) -> bool:
    """Whether the review reason is unchanged."""
    return payout.review_reason == before.review_reason


def keep_review_since(payout: PayoutState, before: PayoutState) -> PayoutState:
    """Keep the date of a reason whose code is the same as before."""
    if payout.review_reason is None or before.review_reason is None:
        return payout
    if code_of(payout.review_reason) != code_of(before.review_reason):
        return payout
    return replace(payout, review_since=before.review_since)
