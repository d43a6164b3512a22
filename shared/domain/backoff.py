"""When to look next. Pure: the time and the jitter are arguments (design section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

DEFAULT_QUERY_BACKOFF = (30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600)
"""Seconds between looks at a payout that EPAY has; the last one repeats."""

DEFAULT_SUBMIT_BACKOFF = (2, 5, 15, 30, 60, 120, 300)
"""Seconds before the next try of a payout that provably never left; the last one repeats."""

JITTER_SHARE = 0.10
"""A pause is moved by up to this share of itself, so that payouts do not march in step."""

DAILY = timedelta(days=1)


def delay_before(schedule: Sequence[int], step: int, jitter: float) -> timedelta:
    """The pause before look number `step` (0 is the first).

    Args:
        schedule: seconds; past its end the last one repeats.
        step: how many looks came before.
        jitter: from -1.0 to 1.0, a random number of the caller's.
    """
    seconds = schedule[min(step, len(schedule) - 1)]
    return timedelta(seconds=seconds * (1 + JITTER_SHARE * jitter))
