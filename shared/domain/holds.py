"""What keeps a queued payout from being sent, for now or until a person acts. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from shared.domain import backoff, review
from shared.domain.payout import PayoutState, Status, Transition, UnreadableAccount
from shared.domain.policy import Policy
from shared.domain.scheduling import is_polled
from shared.domain.transitions import make_transition

_UNREADABLE_DELAY = timedelta(minutes=10)
"""Until an account number that could not be decrypted is tried again."""


def find_hold(
    payout: PayoutState, *, now: datetime, policy: Policy, sent_today: Decimal
) -> Transition | None:
    """Hold a queued payout that must not be sent now; None: nothing holds it.

    Args:
        sent_today: the sum sent in the payout's currency in the last 24 hours.
    """
    return (
        hold_if_not_configured(payout, now=now, policy=policy)
        or _hold_if_not_sendable(payout, now, policy)
        or _hold_if_unreadable(payout, now)
        or _hold_if_above_cap(payout, now, policy, sent_today)
    )


def hold_if_not_configured(
    payout: PayoutState, *, now: datetime, policy: Policy
) -> Transition | None:
    """Hold an open payout whose account or gateway is not configured here, in review (law 10).

    It is looked at again after the last step of `submit_backoff`, and clears its own flag then.
    None: it is configured, or is final, or a worker has it.
    """
    reason = policy.missing_account(payout)
    if reason is None or not (is_polled(payout) or payout.status is Status.QUEUED):
        return None
    waiting = replace(payout, due_at=now + timedelta(seconds=policy.submit_backoff[-1]))
    held = review.flag(waiting, review.ACCOUNT_NOT_CONFIGURED, reason, now)
    if review.same_reason(held, payout):
        return Transition(payout, waiting)
    return make_transition(
        payout, held, kind="held", actor="worker", now=now, detail={"reason": reason}
    )


def _hold_if_not_sendable(payout: PayoutState, now: datetime, policy: Policy) -> Transition | None:
    """Hold a payout past the resend horizon (law 3), or in review for a reason of money."""
    if review.is_sticky(payout) or review.awaits_release(payout):
        return Transition(payout, replace(payout, due_at=now + backoff.DAILY))
    if payout.first_sent_at is None or now - payout.first_sent_at <= policy.resend_horizon:
        return None
    reason = f"first sent {payout.first_sent_at:%F %T} UTC, too long ago to send again"
    return _hold(payout, review.RESEND_HORIZON, reason, now)


def _hold_if_unreadable(payout: PayoutState, now: datetime) -> Transition | None:
    """Law 15: hold a payout whose account number cannot be decrypted, until the key is back."""
    if not isinstance(payout.account_no, UnreadableAccount):
        return None
    reason = "no key of ACCOUNT_ENCRYPTION_KEYS decrypts its account number"
    return _hold(payout, review.UNREADABLE, reason, now, delay=_UNREADABLE_DELAY)


def _hold_if_above_cap(
    payout: PayoutState, now: datetime, policy: Policy, sent_today: Decimal
) -> Transition | None:
    """Hold a payout above our own caps, unless it was sent before or a person released it."""
    if payout.first_sent_at is not None or payout.released_at is not None:
        return None
    single = policy.cap_per_payout.get(payout.currency)
    if single is not None and payout.amount > single:
        reason = f"the cap for one payout is {single} {payout.currency}"
        return _hold(payout, review.ABOVE_CAP, reason, now)
    daily = policy.cap_per_day.get(payout.currency)
    if daily is not None and sent_today + payout.amount > daily:
        reason = f"{sent_today} of {daily} {payout.currency} were sent in the last 24 hours"
        return _hold(payout, review.ABOVE_DAY_CAP, reason, now)
    return None


def _hold(
    payout: PayoutState, code: str, reason: str, now: datetime, delay: timedelta = backoff.DAILY
) -> Transition:
    postponed = replace(payout, due_at=now + delay)
    held = review.flag(postponed, code, reason, now)
    if review.same_reason(held, payout):
        return Transition(payout, postponed)
    return make_transition(
        payout, held, kind="held", actor="worker", now=now, detail={"reason": reason}
    )
