"""Experiment 1: payouts sent per second and CPU for each, beside floor-submit and the peers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import psycopg

from bench import drain, floor_submit, peer_orm
from bench.bare_celery import QUEUE
from bench.environment import Gateway, Stage, celery_worker
from bench.interleave import Measure, Section, in_turn
from bench.messages import fill
from bench.payloads import create_param, request_kwargs, signed_body
from bench.ratios import Criterion, Figures
from devstack.process import ChildProcess
from devstack.wait import wait_for
from shared.contract import QUEUE_PAYOUTS, TASK_REQUEST

LATENCY = 0.2
OURS, FLOOR, ORM, PROCRASTINATE = "ours", "floor-submit", "peer-orm", "peer-procrastinate"
COLUMNS = {
    "per_second": "payouts/s",
    "worker_ms": "worker CPU ms",
    "postgres_ms": "PostgreSQL CPU ms",
    "redis_ms": "Redis CPU ms",
    "stub_ms": "gateway stub CPU ms",
}
_RECORDED = "SELECT count(*) FROM payout WHERE status = 'processing'"
_PEER_RECORDED = "SELECT count(*) FROM peer_payout WHERE status = 'processing'"
_RECORD_SECONDS = 30

_CPU_BOUND = 64
"""Threads from which on the latency does not bound the peers' pace more than their CPU does; with
fewer they are not measured."""
AT_THE_FLOOR = [
    Criterion("payouts/s, ours to floor-submit", "per_second", OURS, FLOOR, "at least", 0.80),
    Criterion("worker CPU, ours to floor-submit", "worker_ms", OURS, FLOOR, "at most", 1.4),
]
BESIDE_PEERS = [
    Criterion("payouts/s, ours to peer-orm", "per_second", OURS, ORM, "at least", 2.0),
    Criterion(
        "payouts/s, ours to peer-procrastinate", "per_second", OURS, PROCRASTINATE, "at least", 2.0
    ),
]


def run(
    stage: Stage, count: int, concurrency: int, rounds: int, say: Callable[[str], None]
) -> Section:
    """Measure `count` payouts a variant with so many threads."""
    variants: dict[str, Measure] = {
        OURS: partial(ours, stage, count, concurrency),
        FLOOR: partial(floor, stage, count, concurrency),
    }
    if concurrency >= _CPU_BOUND:
        variants[ORM] = partial(orm, stage, count, concurrency)
        if importlib.util.find_spec("procrastinate"):
            variants[PROCRASTINATE] = partial(procrastinate, stage, count, concurrency)
        else:
            say("  peer-procrastinate is left out: pip install 'epay-payouts[bench]'")
    return Section(
        name=f"submit-{concurrency}",
        title=f"Submit, {concurrency} threads",
        setting=f"{count} payouts on the queue, one process, {LATENCY * 1000:g} ms gateway latency",
        columns=COLUMNS,
        rounds=in_turn(variants, rounds, say, again=(OURS, FLOOR)),
        criteria=AT_THE_FLOOR + (BESIDE_PEERS if concurrency >= _CPU_BOUND else []),
    )


def ours(
    stage: Stage,
    count: int,
    concurrency: int,
    *,
    latency: float = LATENCY,
    processes: int = 1,
    pool: str = "threads",
    prefetch: int = 1,
    look: Callable[[Sequence[ChildProcess]], Figures] = lambda _: {},
) -> Figures:
    """Our worker, from `payouts.request` on the broker to the answer on record.

    Args:
        prefetch: messages that a worker holds for each payout at once.
        look: further figures of the workers, taken when all is done.
    """
    order_nos = [f"bench-{number:07}" for number in range(count)]
    with stage.database() as url, stage.gateway(latency) as gateway:
        fill(stage.redis.url, TASK_REQUEST, QUEUE_PAYOUTS, map(request_kwargs, order_nos))
        env = stage.service_environment(url, gateway.base_url, concurrency)
        with workers(
            stage, "worker", QUEUE_PAYOUTS, concurrency, env, processes, pool, prefetch
        ) as running:
            recorded = partial(_count, url, _RECORDED)
            return {**_drained(stage, gateway, count, running, recorded), **look(running)}


def floor(stage: Stage, count: int, concurrency: int) -> Figures:
    """The bare Celery task."""
    bodies = [{"body": signed_body(create_param(f"bench-{number:07}"))} for number in range(count)]
    with stage.gateway(LATENCY) as gateway:
        fill(stage.redis.url, floor_submit.TASK, QUEUE, bodies)
        env = stage.plain_environment("", gateway.base_url, concurrency)
        with workers(stage, "bench.floor_submit", QUEUE, concurrency, env) as running:
            return _drained(stage, gateway, count, running, gateway.answered)


def orm(stage: Stage, count: int, concurrency: int) -> Figures:
    """The usual way on Celery."""
    asked = [request_kwargs(f"bench-{number:07}") for number in range(count)]
    with stage.database(migrated=False) as url, stage.gateway(LATENCY) as gateway:
        fill(stage.redis.url, peer_orm.TASK, QUEUE, asked)
        env = stage.plain_environment(url, gateway.base_url, concurrency)
        _make_peer_tables(stage, env)
        with workers(stage, "bench.peer_orm", QUEUE, concurrency, env) as running:
            return _drained(stage, gateway, count, running, partial(_count, url, _PEER_RECORDED))


def procrastinate(stage: Stage, count: int, concurrency: int) -> Figures:
    """The usual way on procrastinate."""
    from bench import peer_procrastinate  # noqa: PLC0415 - need not be installed

    with stage.database(migrated=False) as url, stage.gateway(LATENCY) as gateway:
        env = stage.plain_environment(url, gateway.base_url, concurrency)
        _make_peer_tables(stage, env)
        peer_procrastinate.enqueue(url, (f"bench-{number:07}" for number in range(count)))
        argv = stage.python("bench.peer_procrastinate")
        with stage.process("procrastinate", argv, env) as worker:
            recorded = partial(_count, url, _PEER_RECORDED)
            return _drained(stage, gateway, count, [worker], recorded)


@contextmanager
def workers(
    stage: Stage,
    app: str,
    queue: str,
    concurrency: int,
    env: Mapping[str, str],
    processes: int = 1,
    pool: str = "threads",
    prefetch: int = 1,
) -> Iterator[list[ChildProcess]]:
    """So many Celery workers, which begin on a filled queue at once; Redis is empty afterwards."""
    running: list[ChildProcess] = []
    try:
        with ExitStack() as stack:
            with stage.held_back(queue, processes):
                for number in range(processes):
                    argv = celery_worker(app, queue, concurrency, f"bench{number}", pool, prefetch)
                    running.append(stack.enter_context(stage.process("worker", argv, env)))
            yield running
    finally:
        stage.flush()


def _drained(
    stage: Stage,
    gateway: Gateway,
    count: int,
    running: Sequence[ChildProcess],
    recorded: Callable[[], int],
) -> dict[str, float]:
    parts = stage.parts(gateway, running)
    samples = drain.watch(gateway.answered, count, parts, running)
    wait_for(lambda: recorded() >= count, _RECORD_SECONDS, f"{count} answers on record")
    if (sent := gateway.answered()) != count:
        raise RuntimeError(f"{count} payouts were asked for, and {sent} were sent")
    return drain.pace(samples, count)


def _count(url: str, statement: Any) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0


def _make_peer_tables(stage: Stage, env: Mapping[str, str]) -> None:
    stage.finished("bench.peer_tables", env)
