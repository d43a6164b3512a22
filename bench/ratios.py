"""Medians, ratios and whether a bound holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Figures = Mapping[str, float]
"""The figures of one variant in one round, by name."""
Rounds = Sequence[Mapping[str, Figures]]
"""For each round the figures of every variant."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """A bound on the ratio of one figure between two variants, or on a figure itself."""

    words: str
    figure: str
    of: str
    to: str | None
    """The variant that it is divided by; None: the figure itself is bound."""
    kind: Literal["at least", "at most"]
    bound: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a criterion came out; the worst round counts."""

    criterion: Criterion
    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round."""
        return median(self.ratios)

    @property
    def worst(self) -> float:
        """The round that counts."""
        return min(self.ratios) if self.criterion.kind == "at least" else max(self.ratios)

    @property
    def holds(self) -> bool:
        """Whether the worst round keeps the bound."""
        if self.criterion.kind == "at least":
            return self.worst >= self.criterion.bound
        return self.worst <= self.criterion.bound


def judge(criterion: Criterion, rounds: Rounds) -> Verdict | None:
    """Hold a criterion against the rounds; None where one of its variants was not measured."""
    ratios = []
    for round_ in rounds:
        if criterion.of not in round_ or (criterion.to and criterion.to not in round_):
            return None
        value = round_[criterion.of][criterion.figure]
        below = round_[criterion.to][criterion.figure] if criterion.to else 1.0
        if below <= 0:
            raise ValueError(f"{criterion.to} has no {criterion.figure}: nothing to divide by")
        ratios.append(value / below)
    return Verdict(criterion, tuple(ratios)) if ratios else None


def medians(rounds: Rounds) -> dict[str, dict[str, float]]:
    """For each variant the median of each of its figures."""
    found: dict[str, dict[str, float]] = {}
    for variant in rounds[0]:
        names = rounds[0][variant]
        found[variant] = {
            name: median(round_[variant][name] for round_ in rounds) for name in names
        }
    return found
