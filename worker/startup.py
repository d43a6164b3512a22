"""Before a worker takes its first message: wait for the servers, refuse unsafe ground."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared.clock import utcnow
from shared.config.settings import Settings
from shared.observability import startup_checks
from shared.storage.engine import is_transient, make_engine

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 1.0


def run_startup_checks(settings: Settings) -> None:
    """Wait until Redis and PostgreSQL answer, then look at what they are.

    Raises:
        SystemExit: something is unsafe; the text says what, and how to mend it.
    """
    found = (
        startup_checks.check_settings(settings)
        or _wait_for("Redis", lambda: startup_checks.check_redis(settings.redis_url))
        or _wait_for("PostgreSQL", lambda: _database(settings))
    )
    if found:
        findings = "\n".join(f"  - {finding}" for finding in found)
        raise SystemExit(f"The payout worker does not start on unsafe ground:\n{findings}")


def _database(settings: Settings) -> list[str]:
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        return startup_checks.check_database(engine, utcnow())
    finally:
        engine.dispose()


def _wait_for(name: str, look: Callable[[], list[str]]) -> list[str]:
    told = False
    while True:
        try:
            return look()
        except (redis.ConnectionError, redis.TimeoutError, SQLAlchemyError) as error:
            if isinstance(error, SQLAlchemyError) and not is_transient(error):
                raise
            if not told:
                log.warning("waiting_for_server", server=name, error=type(error).__name__)
                told = True
            time.sleep(_PAUSE_SECONDS)
