"""Waiting for something to become true, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1


def wait_for(condition: Callable[[], T | Literal[False] | None], timeout: float, what: str) -> T:
    """Ask until the answer is neither None nor false, and return it.

    Args:
        condition: asked at once, and then at growing intervals of at most 0.1 s; what it raises
            ends the wait.
        timeout: seconds; the condition is asked once more when they are over.
        what: completes "waited 5 s for ...".

    Raises:
        TimeoutError: it did not come true in time.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        last = time.monotonic() >= deadline
        answer = condition()
        if answer is not None and answer is not False:
            return answer
        if last:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        pause = min(pause * 2, _LONGEST_PAUSE)
