"""When EPAY's "no such order" proves that an order does not exist (law 3). Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

ANSWERS_NEEDED = 3


def record_absence(
    absences: tuple[str, ...],
    asked_at: datetime,
    *,
    last_sent_at: datetime,
    visibility_delay: timedelta,
) -> tuple[str, ...]:
    """The counted absences (ISO times of the queries), this one added if it counts.

    The answers must be spread over the visibility delay: one counts only if it was asked after the
    last send, and at least half of the delay after the one before.
    """
    if asked_at <= last_sent_at:
        return absences
    if absences and asked_at - datetime.fromisoformat(absences[-1]) < visibility_delay / 2:
        return absences
    return (*absences, asked_at.isoformat())


def absence_is_proven(
    absences: tuple[str, ...],
    asked_at: datetime,
    *,
    last_sent_at: datetime,
    visibility_delay: timedelta,
) -> bool:
    """Whether enough absences are counted and the visibility delay since the last send is over."""
    return len(absences) >= ANSWERS_NEEDED and asked_at - last_sent_at >= visibility_delay
