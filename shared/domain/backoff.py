"""How long to wait before the next attempt (docs/architecture.md, "One clock"). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

DEFAULT_QUERY_BACKOFF = (30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600)
"""Seconds between queries about one payout; the last value repeats."""

DEFAULT_SUBMIT_BACKOFF = (2, 5, 15, 30, 60, 120, 300)
"""Seconds before a payout that was provably not sent is tried again; the last value repeats."""

JITTER_SHARE = 0.10
"""A delay varies by up to this share, so that payouts are not all due at the same time."""

DAILY = timedelta(days=1)


def delay_before(schedule: Sequence[int], attempts: int, jitter: float) -> timedelta:
    """The delay before the next attempt.

    Args:
        schedule: seconds; beyond its end the last value repeats.
        attempts: the number of attempts made before.
        jitter: a random number from -1.0 to 1.0.
    """
    seconds = schedule[min(attempts, len(schedule) - 1)]
    return timedelta(seconds=seconds * (1 + JITTER_SHARE * jitter))
