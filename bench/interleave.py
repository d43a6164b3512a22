"""Variants measured in turn (A B A B ...): what slows the machine down slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from bench.ratios import Criterion, Figures

Measure = Callable[[], Figures]


@dataclass(frozen=True)
class Section:
    """One experiment, measured."""

    name: str
    title: str
    setting: str
    """What was the same for all variants, in words."""
    columns: Mapping[str, str]
    """Heading by figure, in the order of the table."""
    rounds: list[dict[str, dict[str, float]]]
    criteria: Sequence[Criterion] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    """Texts that stand below the table as they are, by heading."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What else belongs into the JSON."""


def in_turn(
    variants: Mapping[str, Measure],
    rounds: int,
    say: Callable[[str], None],
    again: Collection[str] = (),
) -> list[dict[str, dict[str, float]]]:
    """Measure every variant in each round, always in the same order.

    Args:
        again: those that are measured a second time in every round, after the first time of all:
            A B A B. Their figures are the means of both, so that a machine which grows faster or
            slower within a round does so for each of them.
    """
    found: list[dict[str, dict[str, float]]] = []
    for number in range(1, rounds + 1):
        taken: dict[str, list[Figures]] = {name: [] for name in variants}
        for name in [*variants, *(name for name in variants if name in again)]:
            figures = variants[name]()
            taken[name].append(figures)
            shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
            say(f"  round {number}  {name:<18} {shown}")
        found.append({name: _means(figures) for name, figures in taken.items()})
    return found


def _means(taken: Sequence[Figures]) -> dict[str, float]:
    return {key: fmean(figures[key] for figures in taken) for key in taken[0]}
