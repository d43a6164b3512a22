"""Watching workers empty their queue: payouts per second and CPU, without start and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.cpu_usage import cpu_of_parts
from devstack.process import ChildProcess

_PAUSE_SECONDS = 0.1
_FROM, _TO = 0.10, 0.95
"""The stretch that counts: before it threads and connections are made, after it some lie idle."""
_STALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look."""

    at: float
    """Seconds, monotonic."""
    done: int
    cpu: Mapping[str, float]
    """CPU seconds so far, by part (worker, postgres, redis, stub)."""


def watch(
    done: Callable[[], int],
    total: int,
    parts: Mapping[str, Sequence[int]],
    workers: Sequence[ChildProcess],
) -> list[Sample]:
    """Look until `total` are done.

    Args:
        parts: the numbers of the processes whose CPU is noted, by part.
        workers: those that must go on running.

    Raises:
        RuntimeError: a worker ended.
        TimeoutError: nothing got done for a minute; the text says how far it came.
    """
    samples: list[Sample] = []
    moved_at = time.monotonic()
    while True:
        samples.append(Sample(time.monotonic(), done(), cpu_of_parts(parts)))
        if samples[-1].done >= total:
            return samples
        if len(samples) == 1 or samples[-1].done > samples[-2].done:
            moved_at = samples[-1].at
        for worker in workers:
            if worker.returncode is not None:
                raise RuntimeError(f"{worker.name} ended:\n{worker.log_tail()}")
        if samples[-1].at - moved_at > _STALL_SECONDS:
            log = workers[0].log_tail()
            raise TimeoutError(f"stuck at {samples[-1].done} of {total}:\n{log}")
        time.sleep(_PAUSE_SECONDS)


def pace(samples: Sequence[Sample], total: int) -> dict[str, float]:
    """Figures of the stretch between 10 % and 95 % of `total`.

    `per_second`, and for each part `<part>_ms`: CPU milliseconds for one payout (or query).

    Raises:
        ValueError: too few samples.
    """
    first = next(sample for sample in samples if sample.done >= total * _FROM)
    last = next(sample for sample in samples if sample.done >= total * _TO)
    done = last.done - first.done
    if not done:
        raise ValueError("too few to measure: all came between two looks")
    cpu = {f"{part}_ms": (last.cpu[part] - first.cpu[part]) * 1000 / done for part in first.cpu}
    return {"per_second": done / (last.at - first.at), **cpu}
