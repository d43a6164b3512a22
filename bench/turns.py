"""Variants measured in turn (A B A B ...): what slows the machine down slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.figures import Criterion, Figures

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
    variants: Mapping[str, Measure], rounds: int, say: Callable[[str], None]
) -> list[dict[str, dict[str, float]]]:
    """Measure every variant once in each round, always in the same order."""
    found: list[dict[str, dict[str, float]]] = []
    for number in range(1, rounds + 1):
        found.append({})
        for name, measure in variants.items():
            figures = dict(measure())
            found[-1][name] = figures
            shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
            say(f"  round {number}  {name:<18} {shown}")
    return found
