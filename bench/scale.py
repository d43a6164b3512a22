"""Experiment 6: payouts per second with one, two and four processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench import submit
from bench.environment import Stage
from bench.interleave import Section, in_turn
from bench.ratios import Criterion

THREADS = 8
PROCESSES = (1, 2, 4)


def name(processes: int) -> str:
    """The variant of so many processes."""
    return f"{processes} process" if processes == 1 else f"{processes} processes"


CRITERIA = [
    Criterion("two processes to one", "per_second", name(2), name(1), "at least", 1.9),
    Criterion("four processes to one", "per_second", name(4), name(1), "at least", 3.6),
]


def run(stage: Stage, seconds: float, rounds: int, say: Callable[[str], None]) -> Section:
    """Measure each number of processes for about so long."""
    variants = {
        name(processes): partial(
            submit.ours,
            stage,
            int(seconds * processes * THREADS / submit.LATENCY),
            THREADS,
            processes=processes,
        )
        for processes in PROCESSES
    }
    return Section(
        name="scale",
        title="Processes",
        setting=f"{THREADS} threads each, {submit.LATENCY * 1000:g} ms gateway latency: at most "
        f"{THREADS / submit.LATENCY:g} payouts/s for each process",
        columns=submit.COLUMNS,
        rounds=in_turn(variants, rounds, say),
        criteria=CRITERIA,
    )
