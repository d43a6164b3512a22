"""`python -m bench`: measure, print, write results; see docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bench import callback, growth, machine, memory, pool, query, report, scale, submit
from bench.environment import Stage, a_stage
from bench.interleave import Section

_ROOT = Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / "bench/results/latest.json"
_PAGE = _ROOT / "docs/benchmarks.md"


class Experiment(StrEnum):
    """What can be measured."""

    SUBMIT = "submit"
    QUERY = "query"
    CALLBACK = "callback"
    GROWTH = "growth"
    MEMORY = "memory"
    SCALE = "scale"
    POOL = "pool"
    ALL = "all"


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    payouts: int
    concurrency: tuple[int, ...]
    seconds: float
    sizes: tuple[int, int]
    memory: tuple[int, int]
    """Payouts, and how many of them are the warm-up."""


FULL = Extent(2000, (32, 128), 10, (10_000, 1_000_000), (50_000, 5_000))
QUICK = Extent(600, (64,), 3, (10_000, 100_000), (3_000, 1_000))

Say = Callable[[str], None]
Run = Callable[[Stage], Section]


def main(
    experiments: Annotated[list[Experiment] | None, typer.Argument()] = None,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Each variant so often, in turn.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Small, to see that it works.")] = False,
    results: Annotated[Path, typer.Option("--json", help="Where the results are kept.")] = _RESULTS,
    docs: Annotated[
        bool, typer.Option("--docs", help="Write the tables into docs/benchmarks.md.")
    ] = False,
) -> None:
    """Measure this service beside bare Celery and beside the usual ways; the worst round counts."""
    results = results.resolve()
    wanted = experiments or [Experiment.ALL]
    given = [*wanted, f"--rounds {rounds}", *(["--quick"] if quick else [])]
    command = f"make bench ARGS='{' '.join(given)}'"
    described = machine.describe()
    say: Say = partial(print, flush=True)
    with a_stage() as stage:
        for name, run in chosen(wanted, QUICK if quick else FULL, rounds, say):
            say(name)
            section = run(stage)
            data = report.as_data(section, described, command)
            found = report.merge(results, {section.name: data})
            say("\n" + report.tables({section.name: data}) + "\n")
    if docs:
        report.update(_PAGE, found)


def chosen(
    experiments: Collection[Experiment], extent: Extent, rounds: int, say: Say
) -> Iterator[tuple[str, Run]]:
    """The experiments to run, with their names."""
    wanted = partial(_is_wanted, experiments)
    for threads in extent.concurrency:
        if wanted(Experiment.SUBMIT):
            run: Run = partial(
                submit.run, count=extent.payouts, concurrency=threads, rounds=rounds, say=say
            )
            yield f"submit, {threads} threads", run
    for at_once in extent.concurrency:
        if wanted(Experiment.QUERY):
            run = partial(
                query.run, count=extent.payouts, concurrency=at_once, rounds=rounds, say=say
            )
            yield f"query, {at_once} at once", run
    if wanted(Experiment.CALLBACK):
        yield "callback", partial(callback.run, seconds=extent.seconds, rounds=rounds, say=say)
    if wanted(Experiment.GROWTH):
        yield "growth", partial(growth.run, sizes=extent.sizes, rounds=rounds, say=say)
    if wanted(Experiment.MEMORY):
        count, warm = extent.memory
        yield "memory", partial(memory.run, count=count, warm=warm, rounds=rounds, say=say)
    if wanted(Experiment.SCALE):
        yield "scale", partial(scale.run, seconds=extent.seconds, rounds=rounds, say=say)
    if wanted(Experiment.POOL):
        yield "pool", partial(pool.run, count=extent.payouts, rounds=rounds, say=say)


def _is_wanted(experiments: Collection[Experiment], one: Experiment) -> bool:
    return one in experiments or Experiment.ALL in experiments


if __name__ == "__main__":
    typer.run(main)
