"""The gate of a worker process, made from the settings."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from shared.config.settings import Settings
from shared.domain.circuit_breaker import Rules
from shared.redis_client import QuickRedis
from shared.storage import pauses
from worker.send_guard.amount_limits import AskLimit, Limits
from worker.send_guard.breaker_store import RedisBoard, SharedBoard
from worker.send_guard.circuit_breaker import Breaker
from worker.send_guard.guard import WorkerGate
from worker.send_guard.pauses import PauseView
from worker.send_guard.rate_limit import Pace

_PATIENCE_SECONDS = 5.0
"""As long as a create waits for its turn (`worker.jobs.starting`): neither crowds the other out."""
_PROBE_SPARE_SECONDS = 10.0


def make_pace(settings: Settings, redis: QuickRedis) -> Pace | None:
    """What deals out turns; None where no rate is set."""
    rate = settings.epay_max_per_second
    return None if rate is None else Pace(redis, rate)


def make_turn(pace: Pace | None) -> Callable[[], bool]:
    """Waits in place for the turn of one request that is no create; False: there is none soon."""
    return lambda: pace is None or pace.turn(_PATIENCE_SECONDS)


def make_gate(
    settings: Settings, engine: Engine, redis: QuickRedis, ask_limit: AskLimit, pace: Pace | None
) -> WorkerGate:
    """Everything that may keep a payout from being sent for a while."""
    rules = Rules(
        failures=settings.breaker_failures,
        pause=settings.breaker_pause_seconds,
        longest_pause=max(settings.breaker_longest_pause_seconds, settings.breaker_pause_seconds),
        probe_lasts=settings.total_timeout + _PROBE_SPARE_SECONDS,
    )
    limits = None
    if settings.epay_check_limits == "on":
        limits = Limits(
            ask_limit,
            redis,
            make_turn(pace),
            category=settings.epay_limit_category,
            kept_seconds=settings.epay_limit_cache_seconds,
        )
    return WorkerGate(
        PauseView(lambda: pauses.active(engine)),
        Breaker(SharedBoard(RedisBoard(redis)), rules),
        limits,
        pace,
    )
