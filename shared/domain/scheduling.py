"""When a payout is due next: `due_at` (docs/architecture.md, "One clock"). Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.domain import absence_proof, backoff, review
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.transitions import make_transition, transition

POLLED = frozenset({Status.UNKNOWN, Status.PROCESSING, Status.PENDING_WITHDRAWAL})
"""The statuses in which EPAY is queried."""


def is_polled(payout: PayoutState) -> bool:
    """Whether EPAY is queried about the payout."""
    return payout.status in POLLED


def schedule_next_query(
    payout: PayoutState, now: datetime, policy: Policy, jitter: float
) -> PayoutState:
    """Set `due_at` to the next query: backoff at first, daily and in review after `review_after`.

    Args:
        jitter: from -1.0 to 1.0.
    """
    if now - (payout.first_sent_at or payout.created_at) >= policy.review_after:
        flagged = _flag_overdue(payout, now)
        return replace(flagged, due_at=now + backoff.DAILY * (1 + backoff.JITTER_SHARE * jitter))
    due_at = now + backoff.delay_before(policy.query_backoff, payout.queries, jitter)
    later = replace(payout, due_at=due_at, queries=payout.queries + 1)
    return plan_absence_query(later, now, policy)


def plan_absence_query(payout: PayoutState, now: datetime, policy: Policy) -> PayoutState:
    """Bring the next query of an unknown payout forward to where its answer counts (law 3).

    That is never jittered: the third answer falls on the end of the visibility delay.
    """
    if payout.status is not Status.UNKNOWN or payout.last_sent_at is None or payout.due_at is None:
        return payout
    useful_at = absence_proof.next_useful_query(
        payout.absences,
        last_sent_at=payout.last_sent_at,
        visibility_delay=policy.visibility_delay,
    )
    if useful_at is None or useful_at <= now:
        return payout
    return replace(payout, due_at=min(payout.due_at, useful_at))


def on_overdue(payout: PayoutState, *, now: datetime, policy: Policy) -> Transition | None:
    """Flag a payout that is old and has no reason, whatever it is stuck on (law 16).

    None: it is final, has a reason, or is not older than `review_after`.
    """
    is_young = now - payout.created_at < policy.review_after
    if payout.due_at is None or payout.review_reason is not None or is_young:
        return None
    flagged = _flag_overdue(payout, now)
    return make_transition(payout, flagged, kind="overdue", actor="sweep", now=now, detail={})


def _flag_overdue(payout: PayoutState, now: datetime) -> PayoutState:
    return review.flag(payout, review.OVERDUE, f"no end since {payout.created_at:%F}", now)


def mark_unknown(payout: PayoutState, now: datetime, policy: Policy, jitter: float) -> PayoutState:
    """Set the status to unknown and schedule the first query (law 2)."""
    return schedule_next_query(transition(payout, Status.UNKNOWN), now, policy, jitter)


def requeue_unsent(
    payout: PayoutState, now: datetime, policy: Policy, jitter: float
) -> PayoutState:
    """Queue a payout again whose request provably did not leave (law 2).

    A request that did not leave does not start the resend horizon.
    """
    is_first_send = payout.first_sent_at == payout.last_sent_at
    delay = backoff.delay_before(policy.submit_backoff, payout.attempts - 1, jitter)
    queued = replace(
        transition(payout, Status.QUEUED),
        due_at=now + delay,
        first_sent_at=None if is_first_send else payout.first_sent_at,
    )
    if now - payout.created_at >= policy.review_after:
        return review.flag(queued, review.UNSENT, "EPAY could not be reached", now)
    return queued
