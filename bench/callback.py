"""Experiment 3: signed callbacks accepted per second, beside a view that checks nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial

import requests

from bench.cpu_usage import cpu_seconds
from bench.environment import Stage
from bench.interleave import Section, in_turn
from bench.ratios import Criterion, Figures
from bench.stub_gateway import HOST
from devstack.ports import free_port
from devstack.wait import wait_for

OURS, FLOOR = "ours", "floor-callback"
THREADS = 16
_START_SECONDS = 60
_WARM_SECONDS = 1.0
COLUMNS = {
    "per_second": "callbacks/s",
    "webhook_ms": "webhook CPU ms",
    "redis_ms": "Redis CPU ms",
}
CRITERIA = [
    Criterion("callbacks/s, ours to floor-callback", "per_second", OURS, FLOOR, "at least", 0.80)
]


def run(stage: Stage, seconds: float, rounds: int, say: Callable[[str], None]) -> Section:
    """Send callbacks for so long to each variant."""
    service = stage.service_environment("", "", THREADS)
    plain = stage.plain_environment("", "", THREADS)
    variants = {
        OURS: partial(_measure, stage, "webhook:create_app()", service, seconds),
        FLOOR: partial(_measure, stage, "bench.floor_callback:app", plain, seconds),
    }
    return Section(
        name="callback",
        title="Callbacks",
        setting=f"gunicorn, one gthread process of {THREADS} threads, {THREADS} kept-alive "
        f"connections, {seconds:g} s",
        columns=COLUMNS,
        rounds=in_turn(variants, rounds, say),
        criteria=CRITERIA,
    )


def _measure(stage: Stage, app: str, env: Mapping[str, str], seconds: float) -> Figures:
    port = free_port()
    argv = [
        *(sys.executable, "-m", "gunicorn", app, "--bind", f"{HOST}:{port}"),
        *("--worker-class", "gthread", "--threads", str(THREADS), "--no-control-socket"),
    ]
    try:
        with stage.process("webhook", argv, env) as server:
            wait_for(partial(_listens, port), _START_SECONDS, "the webhook")
            _load(stage, port, _WARM_SECONDS)
            server_cpu, redis_cpu = cpu_seconds(server.pid), cpu_seconds(stage.redis.pid)
            found = _load(stage, port, seconds)
            accepted = int(found["accepted"])
            if found["refused"] or found["broken"] or not accepted:
                raise RuntimeError(f"not all callbacks were accepted: {found}")
            return {
                "per_second": accepted / found["seconds"],
                "webhook_ms": (cpu_seconds(server.pid) - server_cpu) * 1000 / accepted,
                "redis_ms": (cpu_seconds(stage.redis.pid) - redis_cpu) * 1000 / accepted,
            }
    finally:
        stage.flush()


def _load(stage: Stage, port: int, seconds: float) -> dict[str, float]:
    options = ("--port", str(port), "--seconds", str(seconds), "--connections", str(THREADS))
    found: dict[str, float] = json.loads(
        stage.finished("bench.load", stage.environment(), *options)
    )
    return found


def _listens(port: int) -> bool:
    try:
        requests.get(f"http://{HOST}:{port}/", timeout=2)
    except requests.ConnectionError:
        return False
    return True
