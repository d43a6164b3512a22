"""Why an unknown payout is still unknown when its visibility delay is over. Pure."""

from __future__ import annotations

from datetime import datetime

from shared.domain import review
from shared.domain.absence_proof import Control
from shared.domain.gateway import Failure, Refused
from shared.domain.payout import PayoutState, Status
from shared.domain.policy import Policy

_OF_CONTROL = {
    Control.REFUSED: ", and it refuses an order that it must know too",
    Control.UNANSWERED: ", and no answer about an order that it must know",
}


def flag_unresolved(
    payout: PayoutState,
    answer: Failure,
    *,
    control: Control,
    asked_at: datetime,
    now: datetime,
    policy: Policy,
) -> PayoutState:
    """Flag an unknown payout that EPAY was asked about after the visibility delay, in vain.

    Whatever kept the answer away, a person learns of it long before the resend horizon.
    """
    sent_at = payout.last_sent_at
    is_unknown = payout.status is Status.UNKNOWN and sent_at is not None
    if not is_unknown or asked_at - (sent_at or asked_at) < policy.visibility_delay:
        return payout
    deadline = _deadline(payout, now, policy)
    if not isinstance(answer, Refused):
        if now - (payout.first_sent_at or payout.created_at) >= policy.review_after:
            return payout  # overdue says more
        return review.flag(payout, review.UNANSWERED, f"{answer.reason}{deadline}", now)
    is_absence = answer.code in policy.not_found_codes
    message = f"{answer}{_OF_CONTROL.get(control, '')}{deadline}"
    if is_absence and control is Control.MISSING:
        return review.flag(payout, review.NO_CONTROL, message, now)
    if is_absence and control is Control.UNANSWERED:
        return review.flag(payout, review.UNANSWERED, message, now)
    return review.flag(payout, review.QUERY_REFUSED, message, now)


def _deadline(payout: PayoutState, now: datetime, policy: Policy) -> str:
    """Until when it can be sent again, in words."""
    until = (payout.first_sent_at or payout.created_at) + policy.resend_horizon
    if until <= now:
        return "; it is too late to send it again"
    return f"; it can be sent again until {until:%F %R} UTC"
