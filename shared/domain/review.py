"""Why a person must look at a payout: the reasons, how one is set, and which heal by themselves.

`review_reason` is `<code>: <words>`; docs/operations.md says for each code what to do.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.domain.payout import PayoutState

MISMATCH = "mismatch"
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

HELD = frozenset({ABOVE_CAP, ABOVE_DAY_CAP})
"""Reasons that keep a payout from being sent until a person releases it."""

STICKY = frozenset({MISMATCH, CONTRADICTION, BOOKS})
"""Reasons about money that only a person can settle; a later good report does not clear them."""

_MAX_REASON_LENGTH = 300


def code_of(reason: str) -> str:
    """The code of a review reason."""
    return reason.partition(":")[0]


def flag(payout: PayoutState, code: str, words: str, now: datetime) -> PayoutState:
    """Say that a person must look. What only a person can settle is not covered up by less."""
    standing = payout.review_reason
    if is_sticky(payout) and code not in STICKY:
        return payout
    same = standing is not None and code_of(standing) == code
    since = payout.review_since if same else now
    return replace(
        payout, review_reason=f"{code}: {words[:_MAX_REASON_LENGTH]}", review_since=since
    )


def clear_if_resolved(payout: PayoutState, *, ended: bool = True) -> PayoutState:
    """Take back a reason that progress has settled; only an end settles OVERDUE."""
    if payout.review_reason is None or is_sticky(payout):
        return payout
    if not ended and code_of(payout.review_reason) == OVERDUE:
        return payout
    return replace(payout, review_reason=None, review_since=None)


def is_sticky(payout: PayoutState) -> bool:
    """Whether only a person can settle why the payout is in review."""
    return payout.review_reason is not None and code_of(payout.review_reason) in STICKY


def awaits_release(payout: PayoutState) -> bool:
    """Whether the payout waits for a person to release it."""
    return payout.review_reason is not None and code_of(payout.review_reason) in HELD


def clear_review(payout: PayoutState) -> PayoutState:
    """A person has looked, and answers for it: no reason stands any more."""
    return replace(payout, review_reason=None, review_since=None)


def same_reason(payout: PayoutState, before: PayoutState) -> bool:
    """Whether the reason for review stands as it stood."""
    return payout.review_reason == before.review_reason


def keep_review_since(payout: PayoutState, before: PayoutState) -> PayoutState:
    """A reason that stands as it stood is as old as it was."""
    if payout.review_reason is None or before.review_reason is None:
        return payout
    if code_of(payout.review_reason) != code_of(before.review_reason):
        return payout
    return replace(payout, review_since=before.review_since)
