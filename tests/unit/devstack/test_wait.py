"""Bounded waiting."""

from __future__ import annotations

import time

import pytest

from devstack.wait import wait_for


def test_answer_is_returned_as_soon_as_there_is_one() -> None:
    """The first answer that is neither None nor false ends the wait."""
    answers = iter([None, False, None, "ready"])

    assert wait_for(lambda: next(answers), 5, "an answer") == "ready"


def test_empty_answer_counts() -> None:
    """Zero and empty collections are answers."""
    assert wait_for(lambda: 0, 0, "nothing") == 0


def test_timeout_says_what_was_awaited() -> None:
    """The error names the seconds and the thing."""
    started = time.monotonic()

    with pytest.raises(TimeoutError, match=r"waited 0\.05 s for the moon"):
        wait_for(lambda: None, 0.05, "the moon")

    assert 0.05 <= time.monotonic() - started < 60


def test_error_of_the_condition_ends_the_wait() -> None:
    """What the condition raises is not waited out."""

    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wait_for(broken, 60, "nothing")
