"""Whether the ground is safe to work on: each finding says what is wrong and how to mend it."""

from __future__ import annotations

from datetime import datetime

import redis
from alembic.util import CommandError
from sqlalchemy import Engine

from shared.config.settings import Settings
from shared.observability import health
from shared.storage import migrate

CLOCK_TOLERANCE_SECONDS = 5.0
_REDIS_TIMEOUT_SECONDS = 5
_CLUSTER = (
    "a cluster. Celery's Redis transport cannot use one; name a single Redis that is the broker's"
    " own."
)


def check_settings(settings: Settings) -> list[str]:
    """What is unsafe in the settings alone."""
    found = []
    if settings.redis_url.startswith(("redis+cluster://", "rediss+cluster://")) or (
        "," in settings.redis_url
    ):
        found.append(f"REDIS_URL names {_CLUSTER}")
    if settings.broker_visibility_timeout <= settings.longest_task:
        found.append(
            f"BROKER_VISIBILITY_TIMEOUT ({settings.broker_visibility_timeout} s) is not above the"
            f" longest task ({settings.longest_task:g} s): its message would come again while it"
            " runs. Raise it, or lower EPAY_LEASE_SECONDS or EPAY_TOTAL_TIMEOUT."
        )
    return found


def check_redis(redis_url: str) -> list[str]:
    """What is unsafe in the broker.

    Raises:
        redis.RedisError: it does not answer.
    """
    client = redis.Redis.from_url(
        redis_url,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
    )
    with client:
        info = client.info()
    found = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            f"Redis evicts when it is full (maxmemory-policy {policy}): messages would vanish."
            " Set `maxmemory-policy noeviction`."
        )
    if info.get("cluster_enabled"):
        found.append(f"Redis runs as {_CLUSTER}")
    return found


def check_database(engine: Engine, now: datetime) -> list[str]:
    """What is unsafe in the database: its schema, and its clock against ours.

    Raises:
        sqlalchemy.exc.OperationalError: it does not answer.
    """
    behind = _schema(engine)
    if behind:
        return [behind]
    ahead = health.read(engine, now).clock_ahead
    if abs(ahead) > CLOCK_TOLERANCE_SECONDS:
        side = "ahead of" if ahead > 0 else "behind"
        skew = (
            f"The clock of this machine is {abs(ahead):.1f} s {side} the database's: leases and"
            " settle times would not mean what they say. Synchronise both (NTP)."
        )
        return [skew]
    return []


def _schema(engine: Engine) -> str | None:
    current = migrate.current(engine)
    try:
        ready = migrate.has(current)
    except CommandError:
        return None  # a schema that this code does not know is newer than it
    if ready:
        return None
    return (
        f"The database's schema ({current or 'none'}) is behind this code ({migrate.newest()})."
        " Run `payouts migrate`."
    )
