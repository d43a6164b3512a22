"""Runs worlds, by seed or by recorded choices, and shrinks the story of one that broke a law."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from structlog.testing import capture_logs

from tests.simulation.seeded_choices import Choices
from tests.simulation.world import World

_SHRINK_RUNS = 400


@dataclass(frozen=True)
class Failure:
    """A world in which a law broke."""

    law: str
    choices: Sequence[int]
    story: Sequence[str]


def run(
    seed: int | None = None,
    recorded: Sequence[int] | None = None,
    played: Counter[str] | None = None,
) -> Failure | None:
    """Live one world; None when everything held. `played` counts the faults gone through."""
    choices = Choices(seed, recorded)
    world = World(choices)
    try:
        with capture_logs():
            world.live()
    except Exception as error:  # noqa: BLE001 - whatever is raised, in any task, is a finding
        return Failure(f"{type(error).__name__}: {error}", choices.made, world.story)
    if played is not None:
        played.update(world.gateway.played)
        played["payouts"] += len(world.store.rows)
        played["creates received"] += sum(world.gateway.creates.values())
        played["paid twice"] += sum(times > 1 for times in world.gateway.payments.values())
    return None


def run_seeds(seeds: range) -> tuple[int, int | None, Counter[str]]:
    """The number of these worlds, the first seed that broke a law, and the faults gone through.

    Not in `__main__`, which a process started by multiprocessing does not import.
    """
    played: Counter[str] = Counter()
    failing = next((seed for seed in seeds if run(seed, played=played) is not None), None)
    return len(seeds), failing, played


def shrunk(failure: Failure) -> Failure:
    """The same failure with as few harmful choices as can be found in a bounded search."""
    best = failure
    budget = _SHRINK_RUNS
    size = max(1, len(best.choices) // 2)
    while size and budget > 0:
        start = 0
        improved = False
        while start < len(best.choices) and budget > 0:
            for candidate in _simpler(best.choices, start, size):
                budget -= 1
                found = run(recorded=candidate)
                if found is not None and _weight(found.choices) < _weight(best.choices):
                    best, improved = found, True
                    break
            else:
                start += size
        size = size if improved and size == 1 else size // 2
    return best


def _simpler(choices: Sequence[int], start: int, size: int) -> list[list[int]]:
    made = list(choices)
    without = made[:start] + made[start + size :]
    harmless = made[:start] + [0] * len(made[start : start + size]) + made[start + size :]
    return [without] if harmless == made else [without, harmless]


def _weight(choices: Sequence[int]) -> tuple[int, int]:
    return (sum(1 for choice in choices if choice), len(choices))
