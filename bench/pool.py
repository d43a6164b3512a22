"""What the pool costs: threads, several processes of threads, gevent."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial

from bench import submit
from bench.cpu_usage import own_bytes
from bench.environment import Stage
from bench.interleave import Measure, Section, in_turn
from bench.ratios import Figures
from devstack.process import ChildProcess

AT_ONCE = 32
COLUMNS = {**submit.COLUMNS, "mib": "workers' memory MiB"}
_MIB = 1024 * 1024


def run(stage: Stage, count: int, rounds: int, say: Callable[[str], None]) -> Section:
    """Measure the same worker on different pools, as many payouts at once on each."""
    measure = partial(submit.ours, stage, count, look=_memory)
    variants: dict[str, Measure] = {
        "threads, 1 x 32": partial(measure, AT_ONCE),
        "threads, 4 x 8": partial(measure, AT_ONCE // 4, processes=4),
    }
    if importlib.util.find_spec("gevent"):
        variants["gevent, 1 x 32"] = partial(measure, AT_ONCE, pool="gevent")
        variants["gevent, prefetch 10"] = partial(measure, AT_ONCE, pool="gevent", prefetch=10)
    else:
        say("  gevent is left out: it is not installed")
    return Section(
        name="pool",
        title="Pools",
        setting=f"{count} payouts on the queue, {AT_ONCE} at once, {submit.LATENCY * 1000:g} ms"
        " gateway latency",
        columns=COLUMNS,
        rounds=in_turn(variants, rounds, say),
    )


def _memory(workers: Sequence[ChildProcess]) -> Figures:
    return {"mib": sum(own_bytes(worker.pid) for worker in workers) / _MIB}
