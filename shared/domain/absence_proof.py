"""When EPAY's "no such order" is a proof (law 3). Pure."""

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
    """The counted absences with this one, if it counts.

    Three answers have to be spread over the settle time, so one counts only when it was asked at
    least half of it after the one before, and after the last send.
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
    """Whether enough answers stand, and the settle time since the last send is over."""
    return len(absences) >= ANSWERS_NEEDED and asked_at - last_sent_at >= visibility_delay
