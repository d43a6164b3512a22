"""The gate of a worker process, made from the settings."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from shared.config.settings import Settings
from shared.domain.circuit_breaker import BreakerRules
from shared.redis_client import RedisClient
from shared.storage import pauses
from worker.send_guard.amount_limits import AmountLimits, AskLimit
from worker.send_guard.breaker_store import FallbackBreakerStore, RedisBreakerStore
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.guard import WorkerSendGuard
from worker.send_guard.pauses import PauseCache
from worker.send_guard.rate_limit import RateLimiter

_PATIENCE_SECONDS = 5.0
"""As long as a create waits for its turn (`worker.jobs.starting`): neither crowds the other out."""
_PROBE_SPARE_SECONDS = 10.0


def make_rate_limiter(settings: Settings, redis: RedisClient) -> RateLimiter | None:
    """What deals out turns; None where no rate is set."""
    rate = settings.epay_max_per_second
    return None if rate is None else RateLimiter(redis, rate)


def make_acquire(pace: RateLimiter | None) -> Callable[[], bool]:
    """Waits in place for the turn of one request that is no create; False: there is none soon."""
    return lambda: pace is None or pace.acquire(_PATIENCE_SECONDS)


def make_send_guard(
    settings: Settings,
    engine: Engine,
    redis: RedisClient,
    ask_limit: AskLimit,
    pace: RateLimiter | None,
) -> WorkerSendGuard:
    """Everything that may keep a payout from being sent for a while."""
    rules = BreakerRules(
        failures=settings.breaker_failures,
        pause=settings.breaker_pause_seconds,
        longest_pause=max(settings.breaker_longest_pause_seconds, settings.breaker_pause_seconds),
        probe_lasts=settings.total_timeout + _PROBE_SPARE_SECONDS,
    )
    limits = None
    if settings.epay_check_limits == "on":
        limits = AmountLimits(
            ask_limit,
            redis,
            make_acquire(pace),
            category=settings.epay_limit_category,
            kept_seconds=settings.epay_limit_cache_seconds,
        )
    return WorkerSendGuard(
        PauseCache(lambda: pauses.active(engine)),
        CircuitBreaker(FallbackBreakerStore(RedisBreakerStore(redis)), rules),
        limits,
        pace,
    )
