"""A query that EPAY answers without a report: absence, refusal, no answer (laws 3, 12). Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.domain import absence_proof, review
from shared.domain.absence_proof import Control
from shared.domain.gateway import Failure, OutcomeUnknown, Refused
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.scheduling import plan_absence_query, schedule_next_query
from shared.domain.transitions import finish, make_transition, transition

_OF_CONTROL = {
    Control.REFUSED: ", and it refuses an order that it must know too",
    Control.UNANSWERED: ", and no answer about an order that it must know",
}


def on_query_refused(
    payout: PayoutState,
    refused: Refused,
    control: Control,
    asked_at: datetime,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> Transition:
    """EPAY refused the query: only a "no such order" with a control counts (laws 3 and 12)."""
    configured = review.clear_code(payout, review.ACCOUNT_NOT_CONFIGURED)
    after = schedule_next_query(configured, now, policy, jitter)
    is_absence = refused.code in policy.not_found_codes
    kind = "no_such_order" if is_absence else "query_refused"
    if control is Control.REFUSED and not policy.is_duplicate(after.refusal):
        # the create may have been refused for what is wrong with us: it is no ground to reject
        after = replace(after, refusal=None)
    if is_absence and control is Control.PASSED:
        after = _apply_absence(after, str(refused), asked_at, now, policy)
    else:
        after = flag_unresolved(
            after, refused, control=control, asked_at=asked_at, now=now, policy=policy
        )
    detail = {
        "code": refused.code,
        "message": refused.message,
        "asked_at": asked_at.isoformat(),
        "control": control.value,
    }
    return make_transition(payout, after, kind=kind, actor="query", now=now, detail=detail)


def _apply_absence(
    payout: PayoutState, message: str, asked_at: datetime, now: datetime, policy: Policy
) -> PayoutState:
    """Law 3: count a "no such order"; once absence is proven, reject or queue the payout again."""
    if payout.status is not Status.UNKNOWN:
        return review.flag(payout, review.VANISHED, message, now)
    if review.code_of(payout.review_reason or "") in review.ABOUT_QUERIES:
        payout = review.clear_review(payout)  # EPAY answers again, and its answer counts
    last_sent_at = payout.last_sent_at
    if last_sent_at is None:
        return payout
    absences = absence_proof.record_absence(
        payout.absences,
        asked_at,
        last_sent_at=last_sent_at,
        visibility_delay=policy.visibility_delay,
    )
    after = plan_absence_query(replace(payout, absences=absences), now, policy)
    is_proven = absence_proof.absence_is_proven(
        absences, asked_at, last_sent_at=last_sent_at, visibility_delay=policy.visibility_delay
    )
    if is_proven and policy.is_duplicate(after.refusal):
        reason = f"{after.refusal}, and the query: {message}"
        after = review.flag(after, review.CREATE_REFUSED, reason, now)
        is_proven = False  # EPAY said that it has the order: a person decides
    if not is_proven or review.is_sticky(after):
        return after  # sticky: EPAY reported another order under this number, a person decides
    if after.refusal is not None:
        return finish(after, Status.REJECTED, now)
    if now - (payout.first_sent_at or last_sent_at) > policy.resend_horizon:
        return review.flag(after, review.RESEND_HORIZON, message, now)
    return replace(review.clear_if_resolved(transition(after, Status.QUEUED)), due_at=now)


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


def on_unasked(payout: PayoutState, *, now: datetime, policy: Policy) -> Transition | None:
    """Flag an unknown payout that could not be asked about within its lease.

    None: nothing changes. When it is asked about next does not change either.
    """
    reason = "EPAY was not asked: no slot of EPAY_MAX_PER_SECOND was free, or Redis is unavailable"
    after = flag_unresolved(
        payout,
        OutcomeUnknown(reason),
        control=Control.MISSING,
        asked_at=now,
        now=now,
        policy=policy,
    )
    if review.same_reason(after, payout):
        return None
    return make_transition(payout, after, kind="unanswered", actor="query", now=now, detail={})


def _deadline(payout: PayoutState, now: datetime, policy: Policy) -> str:
    """Until when it can be sent again, in words."""
    until = (payout.first_sent_at or payout.created_at) + policy.resend_horizon
    if until <= now:
        return "; it is too late to send it again"
    return f"; it can be sent again until {until:%F %R} UTC"
