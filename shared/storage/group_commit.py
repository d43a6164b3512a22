"""Work that many threads want done at the same moment, done in one go: one commit for all of them.

Whoever comes while others are at it waits, and goes with all who came meanwhile. Nobody waits for
company: alone, it is done at once.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 64
_LANES = 2
"""Groups under way at once: one that waits for a lock does not hold up all who come."""


class _Place(Generic[Item, Result]):
    """One caller's item and what came of it."""

    __slots__ = ("done", "error", "failed", "item", "result")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: Result
        self.done = False
        self.failed = False
        """The group failed; with `error`, there was nobody else in it who could be to blame."""
        self.error: Exception | None = None


class _Lane(Generic[Item, Result]):
    def __init__(self) -> None:
        self.waiting: deque[_Place[Item, Result]] = deque()
        self.turn = threading.Lock()


class Together(Generic[Item, Result]):
    """Calls `run` with the items of several threads, and gives each its own result.

    Args:
        run: all or nothing; one result for each item, in order. If it fails for several, each
            caller runs it again for its own item alone: what is wrong with one fails that one. So
            `run` must bear that what it failed to tell of was done all the same.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._run = run
        self._lanes: list[_Lane[Item, Result]] = [_Lane() for _ in range(_LANES)]
        self._calls = itertools.count()

    def do(self, item: Item) -> Result:
        """Have it done, by ourselves or by whoever is at it; raises what `run` raises for it."""
        lane = self._lanes[next(self._calls) % _LANES]
        place: _Place[Item, Result] = _Place(item)
        lane.waiting.append(place)
        with lane.turn:
            while not place.done and not place.failed:  # a full group may leave before us
                self._lead(lane.waiting)
        if place.error is not None:
            raise place.error
        return self._run([item])[0] if place.failed else place.result

    def _lead(self, waiting: deque[_Place[Item, Result]]) -> None:
        group = [waiting.popleft() for _ in range(min(len(waiting), _MOST))]
        try:
            results = self._run([place.item for place in group])
        except BaseException as error:
            for place in group:
                place.failed = True
            if not isinstance(error, Exception):
                raise
            if len(group) == 1:
                group[0].error = error
            return
        for place, result in zip(group, results, strict=True):
            place.result = result
            place.done = True
