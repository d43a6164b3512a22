"""Experiment 2: status queries per CPU second of the worker, beside one Celery task each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg

from bench import drain, floor_query
from bench.bare_celery import QUEUE
from bench.environment import Stage
from bench.interleave import Measure, Section, in_turn
from bench.messages import fill
from bench.payloads import ACCOUNT, AMOUNT, CURRENCY, query_param, signed_body
from bench.ratios import Criterion, Figures
from bench.submit import LATENCY, workers
from devstack.wait import wait_for
from shared.contract import QUEUE_RECONCILE, TASK_QUERY

OURS, ENDED, FLOOR = "ours", "ours, all ended", "floor-query"
COLUMNS = {
    "per_cpu_second": "queries per CPU s",
    "worker_ms": "worker CPU ms",
    "per_second": "queries/s",
    "postgres_ms": "PostgreSQL CPU ms",
    "redis_ms": "Redis CPU ms",
    "stub_ms": "gateway stub CPU ms",
}
CRITERIA = [
    Criterion("queries per CPU s, to floor-query", "per_cpu_second", OURS, FLOOR, "at least", 2.5),
    Criterion(
        "the same where every answer is an end", "per_cpu_second", ENDED, FLOOR, "at least", 1.0
    ),
]
_TASKS = 8
"""Batches under way in one process: the Procfile's reconciler."""
_RECORD_SECONDS = 30
_INSERT = """
INSERT INTO payout (
    epay_account, merchant_order_no, amount, currency, channel_code, account_no, status, due_at,
    sequence, journal_hash, nonce, claim_id, attempts, first_sent_at, last_sent_at, queries,
    absences, epay_order_no, epay_status, created_at, updated_at
)
SELECT %(account)s, 'bench-' || lpad(n::text, 7, '0'), %(amount)s, %(currency)s, '11',
    '41111810111111111111', 'processing', %(lease)s, 2, repeat('0', 64), md5(n::text),
    md5(n::text), 1, now(), now(), 1, '[]', '2311bench-' || lpad(n::text, 7, '0'), '1', now(), now()
FROM generate_series(0, %(count)s - 1) AS n
RETURNING id
"""
_LEFT = "SELECT count(*) FROM payout WHERE due_at = %s"


def run(
    stage: Stage, count: int, concurrency: int, rounds: int, say: Callable[[str], None]
) -> Section:
    """Measure `count` queries a variant, so many of them under way at once."""
    variants: dict[str, Measure] = {
        OURS: partial(ours, stage, count, concurrency, "1"),
        FLOOR: partial(floor, stage, count, concurrency),
        ENDED: partial(ours, stage, count, concurrency, "7"),
    }
    return Section(
        name=f"query-{concurrency}",
        title=f"Following, {concurrency} queries at once",
        setting=f"{count} due payouts, one process, {LATENCY * 1000:g} ms gateway latency",
        columns=COLUMNS,
        rounds=in_turn(variants, rounds, say, again=(OURS, FLOOR)),
        criteria=CRITERIA,
    )


def ours(stage: Stage, count: int, concurrency: int, status: str) -> Figures:
    """Our worker: batches as the sweep sends them, answers recorded."""
    lease = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    with stage.database() as url, stage.gateway(LATENCY, status) as gateway:
        ids = _put(url, count, lease)
        batches = [
            {"payout_ids": ids[start : start + concurrency], "lease": lease.isoformat()}
            for start in range(0, count, concurrency)
        ]
        fill(stage.redis.url, TASK_QUERY, QUEUE_RECONCILE, batches)
        env = stage.service_environment(
            url, gateway.base_url, _TASKS, EPAY_QUERY_BATCH=str(concurrency)
        )
        with workers(stage, "worker", QUEUE_RECONCILE, _TASKS, env) as running:
            parts = stage.parts(gateway, running)
            samples = drain.watch(gateway.answered, count, parts, running)
            wait_for(lambda: not _left(url, lease), _RECORD_SECONDS, "all answers on record")
            _refuse_wrong(url, count, status)
            return _with_rate(drain.pace(samples, count))


def floor(stage: Stage, count: int, concurrency: int) -> Figures:
    """One bare task a query."""
    bodies = [{"body": signed_body(query_param(f"bench-{number:07}"))} for number in range(count)]
    with stage.gateway(LATENCY) as gateway:
        fill(stage.redis.url, floor_query.TASK, QUEUE, bodies)
        env = stage.plain_environment("", gateway.base_url, concurrency)
        with workers(stage, "bench.floor_query", QUEUE, concurrency, env) as running:
            parts = stage.parts(gateway, running)
            samples = drain.watch(gateway.answered, count, parts, running)
            return _with_rate(drain.pace(samples, count))


def _with_rate(figures: dict[str, float]) -> dict[str, float]:
    return {**figures, "per_cpu_second": 1000 / figures["worker_ms"]}


def _put(url: str, count: int, lease: datetime) -> list[int]:
    values = {
        "account": ACCOUNT,
        "amount": AMOUNT,
        "currency": CURRENCY,
        "lease": lease,
        "count": count,
    }
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(_INSERT, values)]


def _refuse_wrong(url: str, count: int, status: str) -> None:
    """What was measured must have been the work that was meant."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT status, count(*) FROM payout GROUP BY status").fetchall()
    meant = "succeeded" if status == "7" else "processing"
    if dict(rows) != {meant: count}:
        raise RuntimeError(f"{count} payouts should be {meant}, and there are {dict(rows)}")


def _left(url: str, lease: datetime) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(_LEFT, [lease]).fetchone()
    return int(row[0]) if row else 0
