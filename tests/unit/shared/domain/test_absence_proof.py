"""When EPAY's "no such order" is a proof."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import absence_proof
from tests.support.factories import SECOND, T0, after_send

SETTLE = timedelta(seconds=600)


def count(*seconds: float) -> tuple[str, ...]:
    """The absences that count of those asked at these times after the send."""
    absences: tuple[str, ...] = ()
    for at in seconds:
        absences = absence_proof.record_absence(
            absences, after_send(at), last_sent_at=T0, visibility_delay=SETTLE
        )
    return absences


def proven(*seconds: float) -> bool:
    """Whether they are a proof at the time of the last one."""
    return absence_proof.absence_is_proven(
        count(*seconds), after_send(seconds[-1]), last_sent_at=T0, visibility_delay=SETTLE
    )


def test_only_what_was_asked_after_the_send_counts() -> None:
    """At the very moment of the send is not after it."""
    assert count(-1) == count(0) == ()
    assert count(0.000001) == (after_send(0.000001).isoformat(),)


def test_only_what_is_far_enough_from_the_last_counts() -> None:
    """Half the settle time; a close one does not push the next one away."""
    assert len(count(1, 300)) == 1
    assert len(count(1, 301)) == 2
    assert len(count(1, 300, 301)) == 2
    assert len(count(301, 1)) == 1


def test_a_close_one_leaves_what_stands_as_it_was() -> None:
    """The time that stands is the first of a burst."""
    assert count(1, 2, 3) == count(1)


def test_three_and_the_settle_time() -> None:
    """Both are needed."""
    assert absence_proof.ANSWERS_NEEDED == 3
    assert not proven(1, 301)
    assert not proven(700, 1000)
    assert proven(1, 301, 601)
    three = count(1, 301, 601)
    almost = T0 + SETTLE - timedelta(microseconds=1)
    assert not absence_proof.absence_is_proven(
        three, almost, last_sent_at=T0, visibility_delay=SETTLE
    )
    assert absence_proof.absence_is_proven(
        three, T0 + SETTLE, last_sent_at=T0, visibility_delay=SETTLE
    )


def test_what_counted_is_kept_as_text_that_reads_back() -> None:
    """The row holds JSON; the next one is compared with what comes back."""
    (first,) = count(5)
    assert first == "2026-01-05T12:00:05+00:00"


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(-100, 3000), max_size=15), st.integers(1, 1200))
def test_a_proof_is_always_spread_over_the_settle_time(times: list[float], settle: int) -> None:
    """Whatever the order of the answers."""
    span = timedelta(seconds=settle)
    absences: tuple[str, ...] = ()
    counted: list[float] = []
    for at in times:
        before = absences
        absences = absence_proof.record_absence(
            absences, T0 + at * SECOND, last_sent_at=T0, visibility_delay=span
        )
        assert absences[: len(before)] == before
        if absences != before:
            counted.append(at)
        if absence_proof.absence_is_proven(
            absences, T0 + at * SECOND, last_sent_at=T0, visibility_delay=span
        ):
            assert at * SECOND >= span
            assert min(counted) > 0
            assert (max(counted) - min(counted)) * SECOND >= span - timedelta(milliseconds=1)
