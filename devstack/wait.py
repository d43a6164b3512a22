"""Waiting for a condition, with a timeout."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1


def wait_for(condition: Callable[[], T | Literal[False] | None], timeout: float, what: str) -> T:
    """Call `condition` until it returns neither None nor False, and return its result.

    Args:
        condition: called at once, then at growing intervals, and a last time at the timeout.
        timeout: seconds.
        what: completes "waited 5 s for ...".

    Raises:
        TimeoutError: the condition did not come true in time.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        is_last = time.monotonic() >= deadline
        result = condition()
        if result is not None and result is not False:
            return result
        if is_last:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        pause = min(pause * 2, _LONGEST_PAUSE)
