"""When to look next."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import backoff

HOUR = 3600


def test_the_schedule_of_the_design() -> None:
    """30s 1m 2m 5m 10m 30m 1h 2h, then every 6h."""
    seconds = [30, 60, 120, 300, 600, 1800, HOUR, 2 * HOUR, 6 * HOUR]
    assert list(backoff.DEFAULT_QUERY_BACKOFF) == seconds
    pauses = [backoff.delay_before(backoff.DEFAULT_QUERY_BACKOFF, step, 0.0) for step in range(12)]
    assert [pause.total_seconds() for pause in pauses] == [*seconds, *[6 * HOUR] * 3]
    assert timedelta(hours=24) == backoff.DAILY


def test_what_never_left_is_tried_again_soon() -> None:
    """Within seconds at first, never more than five minutes apart."""
    assert backoff.DEFAULT_SUBMIT_BACKOFF[0] <= 5
    assert max(backoff.DEFAULT_SUBMIT_BACKOFF) == backoff.DEFAULT_SUBMIT_BACKOFF[-1] == 300
    assert sorted(backoff.DEFAULT_SUBMIT_BACKOFF) == list(backoff.DEFAULT_SUBMIT_BACKOFF)


@pytest.mark.parametrize(("jitter", "seconds"), [(-1.0, 54), (0.0, 60), (0.5, 63), (1.0, 66)])
def test_jitter_is_ten_per_cent(jitter: float, seconds: float) -> None:
    """Either way."""
    assert backoff.delay_before((60,), 0, jitter) == timedelta(seconds=seconds)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=12),
    st.integers(0, 10**9),
    st.floats(-1, 1),
)
def test_every_pause_is_within_its_bounds(schedule: list[int], step: int, jitter: float) -> None:
    """Above zero, so nothing spins, and at most a tenth beyond the schedule."""
    base = schedule[min(step, len(schedule) - 1)]
    seconds = backoff.delay_before(schedule, step, jitter).total_seconds()
    assert base * 0.9 - 1e-6 <= seconds <= base * 1.1 + 1e-6
