"""Where a simulated world takes its choices from: a seed, or the recorded choices of another run.

A choice is a number; 0 is always the harmless one, so a story is shrunk by making choices 0.
"""

from __future__ import annotations

import random
from collections.abc import Sequence


class Choices:
    """A source of choices that records what it gave."""

    def __init__(self, seed: int | None = None, recorded: Sequence[int] | None = None) -> None:
        self._random = random.Random(seed)
        self._recorded = recorded
        self.made: list[int] = []

    def pick(self, weights: Sequence[float]) -> int:
        """One of the options, by weight; option 0 is the harmless one."""
        if self._recorded is None:
            chosen = self._random.choices(range(len(weights)), weights)[0]
        else:
            nth = len(self.made)
            chosen = self._recorded[nth] if nth < len(self._recorded) else 0
            chosen = min(chosen, len(weights) - 1)
        self.made.append(chosen)
        return chosen

    def happens(self, probability: float) -> bool:
        """Whether something harmful happens."""
        return self.pick((1 - probability, probability)) == 1

    def between(self, low: int, high: int) -> int:
        """A whole number; `low` is the harmless one."""
        return low + self.pick([1] * (high - low + 1))
