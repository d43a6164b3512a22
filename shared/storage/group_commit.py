"""Group commit: what several threads write at the same moment shares one statement and commit.

A thread that comes while a batch is written waits and joins the next one; a thread that comes
alone writes at once.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_BATCH = 64
_LANES = 2
"""Batches written at once: one that waits for a row lock does not hold up all threads."""


class GroupCommit(Generic[Item, Result]):
    """Calls `run` with the items of several threads and gives each thread its own result.

    Args:
        run: writes all items or none; returns one result for each, in order. If a batch fails,
            each of its threads runs its own item alone: one refused value fails one item. So an
            item may be run again although it was written and only the reply was lost.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._run = run
        self._lanes: list[tuple[deque[tuple[Item, Future[Result]]], Lock]] = [
            (deque(), Lock()) for _ in range(_LANES)
        ]
        self._calls = itertools.count()

    def submit(self, item: Item) -> Result:
        """Write the item, with those of other threads; raises what `run` raises for it."""
        waiting, turn = self._lanes[next(self._calls) % _LANES]
        slot: Future[Result] = Future()
        waiting.append((item, slot))
        with turn:
            while not slot.done():  # a full batch may leave without this item
                self._run_batch([waiting.popleft() for _ in range(min(len(waiting), _MAX_BATCH))])
        return self._run([item])[0] if slot.cancelled() else slot.result()

    def _run_batch(self, batch: Sequence[tuple[Item, Future[Result]]]) -> None:
        try:
            results = self._run([item for item, _ in batch])
        except BaseException as error:
            for _, slot in batch:
                slot.cancel()
            if not isinstance(error, Exception) or len(batch) == 1:
                raise
            return
        for (_, slot), result in zip(batch, results, strict=True):
            slot.set_result(result)
