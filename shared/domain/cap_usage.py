"""How much of a day's cap a payout uses up, from its send to an end without payment. Pure."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from shared.domain.payout import PayoutState, Status, Transition

NOT_COUNTED = frozenset({Status.REJECTED, Status.FAILED, Status.CANCELLED})
"""EPAY did not pay and keeps nothing of it: the amount may be sent again."""


def change_of_usage(transition: Transition) -> tuple[datetime, Decimal] | None:
    """The hour in which the payout was first sent, and what is added to its sum; None: nothing."""
    before, after = transition.before, transition.after
    if before is None or _is_counted(before) == _is_counted(after):
        return None
    if _is_counted(after):
        return _hour_of(after), after.amount
    return _hour_of(before), -before.amount


def start_of_hour(moment: datetime) -> datetime:
    """The full hour in which the moment lies."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _is_counted(payout: PayoutState) -> bool:
    return payout.first_sent_at is not None and payout.status not in NOT_COUNTED


def _hour_of(payout: PayoutState) -> datetime:
    return start_of_hour(payout.first_sent_at or payout.created_at)
