"""Experiment 5: the memory of one worker over many payouts."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.cpu_usage import resident_bytes
from bench.environment import Stage
from bench.interleave import Section, in_turn
from bench.messages import fill
from bench.payloads import request_kwargs
from bench.ratios import Criterion, Figures
from bench.submit import workers
from shared.contract import QUEUE_PAYOUTS, TASK_REQUEST

LATENCY = 0.005
THREADS = 32
_PAUSE_SECONDS = 0.25
_STALL_SECONDS = 60.0
_MIB = 1024 * 1024
CRITERIA = [
    Criterion(
        "memory at its most after the warm-up, to that at its end",
        "ratio",
        "ours",
        None,
        "at most",
        1.10,
    )
]
COLUMNS = {
    "warm_mib": "MiB after the warm-up",
    "most_mib": "MiB at its most after it",
    "last_mib": "MiB at the end",
    "ratio": "growth",
}


def run(stage: Stage, count: int, warm: int, rounds: int, say: Callable[[str], None]) -> Section:
    """Send `count` payouts through one worker; growth is counted from the first `warm` on."""
    samples: list[tuple[int, int]] = []

    def measure() -> Figures:
        samples[:] = _sampled(stage, count)
        return growth(samples, warm)

    return Section(
        name="memory",
        title="Memory of a worker",
        setting=f"{count} payouts, the first {warm} are the warm-up, {THREADS} threads, "
        f"{LATENCY * 1000:g} ms gateway latency",
        columns=COLUMNS,
        rounds=in_turn({"ours": measure}, rounds, say),
        criteria=CRITERIA,
        extra={"samples": _thinned(samples)},
    )


def _sampled(stage: Stage, count: int) -> list[tuple[int, int]]:
    """Payouts done and resident bytes, several times a second."""
    with stage.database() as url, stage.gateway(LATENCY) as gateway:
        asked = (request_kwargs(f"bench-{number:07}") for number in range(count))
        fill(stage.redis.url, TASK_REQUEST, QUEUE_PAYOUTS, asked)
        env = stage.service_environment(url, gateway.base_url, THREADS)
        with workers(stage, "worker", QUEUE_PAYOUTS, THREADS, env) as [worker]:
            samples = [(0, resident_bytes(worker.pid))]
            moved_at = time.monotonic()
            while samples[-1][0] < count:
                time.sleep(_PAUSE_SECONDS)
                done = gateway.answered()
                if done > samples[-1][0]:
                    moved_at = time.monotonic()
                elif time.monotonic() - moved_at > _STALL_SECONDS:
                    raise TimeoutError(f"stuck at {done}:\n{worker.log_tail()}")
                samples.append((done, resident_bytes(worker.pid)))
    return samples


def growth(samples: list[tuple[int, int]], warm: int) -> dict[str, float]:
    """Resident memory after the warm-up and at its most since, from (payouts, bytes)."""
    after = [size for done, size in samples if done >= warm]
    return {
        "warm_mib": after[0] / _MIB,
        "most_mib": max(after) / _MIB,
        "last_mib": after[-1] / _MIB,
        "ratio": max(after) / after[0],
    }


def _thinned(samples: list[tuple[int, int]], most: int = 100) -> list[tuple[int, int]]:
    return samples[:: max(1, len(samples) // most)]
