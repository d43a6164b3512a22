"""Startup of a worker, before its first message: wait for the servers, then check them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared.clock import utcnow
from shared.config.builders import name_policy
from shared.config.settings import Settings
from shared.observability import startup_checks
from shared.storage.engine import is_transient, make_engine
from shared.storage.policy_record import fingerprint, record_policy

log = structlog.get_logger(__name__)

T = TypeVar("T")

_RETRY_SECONDS = 1.0


def run_startup_checks(settings: Settings) -> None:
    """Wait until Redis and PostgreSQL answer, check them, log their versions.

    Raises:
        SystemExit: a check failed; the text says what is wrong and how to fix it.
    """
    url = settings.redis_url
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        problems = (
            startup_checks.check_settings(settings)
            or _wait_for("Redis", lambda: startup_checks.check_redis(url))
            or _wait_for("PostgreSQL", lambda: startup_checks.check_database(engine, utcnow()))
        )
        if problems:
            lines = "\n".join(f"  - {problem}" for problem in problems)
            raise SystemExit(f"The payout worker does not start: startup checks failed:\n{lines}")
        log.info(
            "startup_checks_passed",
            redis=_wait_for("Redis", lambda: startup_checks.describe_redis(url)),
            postgresql=_wait_for("PostgreSQL", lambda: startup_checks.describe_database(engine)),
        )
        policy = name_policy(settings)
        changed = _wait_for("PostgreSQL", lambda: record_policy(engine, policy, utcnow()))
        if changed:
            log.warning("policy_changed", settings=changed, fingerprint=fingerprint(policy))
    finally:
        engine.dispose()


def _wait_for(name: str, ask: Callable[[], T]) -> T:
    logged = False
    while True:
        try:
            return ask()
        except (redis.ConnectionError, redis.TimeoutError, SQLAlchemyError) as error:
            if isinstance(error, SQLAlchemyError) and not is_transient(error):
                raise
            if not logged:
                log.warning("waiting_for_server", server=name, error=type(error).__name__)
                logged = True
            time.sleep(_RETRY_SECONDS)
