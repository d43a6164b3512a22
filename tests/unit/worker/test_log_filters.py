"""Which lines of Celery's a worker's log leaves out."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from celery.exceptions import Reject

from worker.log_filters import in_one_line, is_worth_a_line


def record(level: int = logging.INFO, data: Any = None, error: Exception | None = None) -> Any:
    made = logging.LogRecord("celery.app.trace", level, "", 0, "", None, None)
    if error is not None:
        try:
            raise error
        except type(error):
            made.exc_info = sys.exc_info()
    if data is not None:
        made.data = data
    return made


@pytest.mark.parametrize("name", ["payouts.sweep", "payouts.notify", "payouts.books"])
def test_ticks_that_went_well_are_left_out(name: str) -> None:
    """They come every second; one that fails is told."""
    assert not is_worth_a_line(record(data={"name": name}))
    assert is_worth_a_line(record(logging.ERROR, data={"name": name}, error=ValueError()))


def test_a_message_given_back_is_left_out() -> None:
    """The outage behind it is told once, by the max_wait."""
    assert not is_worth_a_line(record(logging.WARNING, error=Reject()))


def test_everything_else_is_told() -> None:
    """Payouts, failures, and records of any other shape."""
    assert is_worth_a_line(record(data={"name": "payouts.request"}))
    assert is_worth_a_line(record(logging.ERROR, error=KeyError("x")))
    assert is_worth_a_line(record(data="a text"))


def test_a_tick_that_could_not_be_sent_is_one_line() -> None:
    """Beat tells that the broker is away without a page of its own code."""
    failed = record(logging.ERROR, error=ConnectionError())
    assert in_one_line(failed)
    assert failed.exc_info is None
