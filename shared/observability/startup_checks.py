"""Checks of settings, Redis and PostgreSQL before a worker starts, and for `payouts doctor`.

Each check returns its problems as text: what is wrong and how to fix it; empty: all is well.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from alembic.util import CommandError
from sqlalchemy import Engine, text

from shared.config.settings import Settings
from shared.domain.accounts import ConfiguredAccounts
from shared.observability import health
from shared.redis_client import RedisClient
from shared.storage import migrate

_OPEN_BY_ACCOUNT = text(
    "SELECT epay_account, epay_gateway, count(*) AS count FROM payout WHERE due_at IS NOT NULL"
    " GROUP BY epay_account, epay_gateway ORDER BY epay_account, epay_gateway"
)
_MIN_REDIS = (6, 2)

_DURABILITY = text(
    "SELECT current_setting('fsync') AS fsync,"
    " current_setting('full_page_writes') AS full_page_writes,"
    " current_setting('synchronous_standby_names') AS synchronous,"
    " (SELECT count(*) FROM pg_stat_replication) AS standbys"
)


def check_settings(settings: Settings) -> list[str]:
    """Problems of the settings alone."""
    found = []
    if settings.broker_visibility_timeout <= settings.longest_task:
        found.append(
            f"BROKER_VISIBILITY_TIMEOUT ({settings.broker_visibility_timeout} s) is not above the"
            f" longest task ({settings.longest_task:g} s): its message would be redelivered while"
            " it runs. Raise it, or lower EPAY_LEASE_SECONDS or EPAY_TOTAL_TIMEOUT."
        )
    least = settings.total_timeout + settings.epay_lease_seconds
    if settings.epay_settle_seconds < least:
        found.append(
            f"EPAY_SETTLE_SECONDS ({settings.epay_settle_seconds:g} s) must be at least the total"
            f" timeout and the lease together ({least:g} s): what is still on its way to EPAY would"
            " be taken for an order that does not exist, and sent twice. Raise it."
        )
    return found


def check_redis(redis_url: str) -> list[str]:
    """Problems of the broker.

    Raises:
        redis.RedisError: it does not answer.
    """
    info = _redis_info(redis_url)
    found = []
    if _version(info) < _MIN_REDIS:
        found.append(
            f"{_server_name(info)} is too old: workers need Redis 6.2 or newer, or any Valkey."
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            f"Redis evicts keys when it is full (maxmemory-policy {policy}): messages would be"
            " lost. Set `maxmemory-policy noeviction`."
        )
    if info.get("cluster_enabled"):
        found.append(
            "Redis runs as a cluster. Celery's Redis transport cannot use one; name a single Redis"
            " that is the broker's own."
        )
    return found


def describe_redis(redis_url: str) -> str:
    """Name and version of the broker, for example `Valkey 9.1.0`.

    Raises:
        redis.RedisError: it does not answer.
    """
    return _server_name(_redis_info(redis_url))


def _redis_info(redis_url: str) -> dict[str, Any]:
    client = RedisClient(redis_url)
    try:
        info: dict[str, Any] = client.client.info()
    finally:
        client.close()
    return info


def _server_name(info: dict[str, Any]) -> str:
    if "valkey_version" in info:  # its redis_version is the one that it is compatible with
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def _version(info: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(info["redis_version"]))[:2])


def check_database(engine: Engine, now: datetime) -> list[str]:
    """Problems of the database: its schema, and its clock compared with this machine's `now`.

    Raises:
        sqlalchemy.exc.OperationalError: it does not answer.
    """
    return check_schema(engine) or check_clock(engine, now) or check_durability(engine)


def check_clock(engine: Engine, now: datetime) -> list[str]:
    """Whether this machine's clock, `now`, agrees with the database's; needs the schema."""
    return health.read(engine, now).clock_skew()


def check_durability(engine: Engine) -> list[str]:
    """Server settings with which a crash loses what was committed before a send (law 11)."""
    with engine.connect() as connection:
        row = connection.execute(_DURABILITY).one()
    return [
        f"PostgreSQL runs with {name}=off: a crash would lose sends. Set {name}=on."
        for name in ("fsync", "full_page_writes")
        if getattr(row, name) == "off"
    ]


def note_database(engine: Engine) -> list[str]:
    """What an operator must know about the database, and is no problem.

    Raises:
        sqlalchemy.exc.OperationalError: it does not answer.
    """
    with engine.connect() as connection:
        row = connection.execute(_DURABILITY).one()
    if not row.standbys or row.synchronous:
        return []
    words = (
        "A standby exists and synchronous_standby_names is empty: a promoted standby may lack the"
        " newest payouts. Sending then stops until `payouts recover` has run."
    )
    return [words]


def unconfigured_accounts(engine: Engine, accounts: ConfiguredAccounts) -> list[str]:
    """The open payouts whose account or gateway is not configured here, in words (law 10).

    They wait: a process starts nevertheless.

    Raises:
        sqlalchemy.exc.OperationalError: it does not answer.
    """
    with engine.connect() as connection:
        rows = connection.execute(_OPEN_BY_ACCOUNT).all()
    return [
        f"open payouts that wait: {row.count}; {missing}. Configure that account and gateway (a"
        " gateway that only moved: EPAY_FORMER_HOSTS), or use the database of this account."
        for row in rows
        if (missing := accounts.missing(row.epay_account, row.epay_gateway))
    ]


def describe_database(engine: Engine) -> str:
    """The version of PostgreSQL, for example `16.4`.

    Raises:
        sqlalchemy.exc.OperationalError: it does not answer.
    """
    with engine.connect() as connection:
        version = str(connection.execute(text("SHOW server_version")).scalar_one())
    return version.split(maxsplit=1)[0]


def check_schema(engine: Engine) -> list[str]:
    """Whether the database has the schema that this code needs, or a newer one."""
    current = migrate.current(engine)
    try:
        ready = migrate.has(current)
    except CommandError:
        return []  # an unknown schema is newer than this code, during a rolling upgrade
    if ready:
        return []
    behind = (
        f"The database's schema ({current or 'none'}) is behind this code ({migrate.newest()})."
        " Run `payouts migrate`."
    )
    return [behind]
