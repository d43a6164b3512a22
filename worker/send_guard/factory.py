"""Builds the send guard of a worker process from the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.config.settings import Settings
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.circuit_breaker import KEY, BreakerRules, breaker_key
from shared.redis_client import RedisClient
from shared.storage.pauses import Pause
from worker.send_guard.amount_limits import AmountLimits, GetLimit
from worker.send_guard.breaker_store import FallbackBreakerStore, RedisBreakerStore
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.guard import SendGuard
from worker.send_guard.pauses import PauseCache
from worker.send_guard.rate_limit import RateLimiter

_MAX_WAIT_SECONDS = 5.0
"""The same as for a create (`worker.jobs.submission`), so that neither starves the other."""
_PROBE_SPARE_SECONDS = 10.0


def make_rate_limiter(settings: Settings, redis: RedisClient) -> RateLimiter | None:
    """Build the rate limiter; None if no rate is set."""
    rate = settings.epay_max_per_second
    return None if rate is None else RateLimiter(redis, rate)


def make_acquire(rate_limiter: RateLimiter | None) -> Callable[[], bool]:
    """Build a function that waits for the slot of a query or getLimit; False: none is free."""
    return lambda: rate_limiter is None or rate_limiter.acquire(_MAX_WAIT_SECONDS)


def make_send_guard(
    settings: Settings,
    read_pauses: Callable[[], Sequence[Pause]],
    redis: RedisClient,
    get_limit: GetLimit,
    rate_limiter: RateLimiter | None,
    accounts: ConfiguredAccounts | None = None,
) -> SendGuard:
    """Build the send guard; each gateway has a circuit breaker of its own (law 15)."""
    rules = BreakerRules(
        failures=settings.breaker_failures,
        pause=settings.breaker_pause_seconds,
        longest_pause=max(settings.breaker_longest_pause_seconds, settings.breaker_pause_seconds),
        probe_lasts=settings.total_timeout + _PROBE_SPARE_SECONDS,
    )
    limits = None
    if settings.epay_check_limits == "on":
        limits = AmountLimits(
            get_limit,
            make_acquire(rate_limiter),
            category=settings.epay_limit_category,
            cache_seconds=settings.epay_limit_cache_seconds,
        )

    def breaker(key: str) -> CircuitBreaker:
        return CircuitBreaker(FallbackBreakerStore(RedisBreakerStore(redis, key)), rules)

    others = accounts.other_gateways if accounts else {}
    breakers = {gateway: breaker(breaker_key(gateway)) for gateway in set(others.values())}
    return SendGuard(
        PauseCache(read_pauses),
        breaker(KEY),
        limits,
        rate_limiter,
        {host: breakers[gateway] for host, gateway in others.items()},
    )
