"""Whose Redis this is, and how far its database had come: one hash in Redis (law 11).

Workers write it; every process that puts messages on the broker compares it with its own settings.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import cast

from shared.config.accounts import account_settings, default_settings
from shared.config.settings import Settings
from shared.domain.accounts import account_key, gateway_of
from shared.redis_client import RedisClient, RedisUnavailable

KEY = "payouts:deployment"
HIGH_WATER = "high_water"
REBUILD_BELOW = "rebuild_below"
"""The id below which marks of sends are still to be written anew; absent: none are."""
REBUILD_ALL = str(2**62)
"""The value of REBUILD_BELOW in an emptied Redis: above every id."""
REDIS_RUN = "redis_run"
"""The server process of Redis: another one may have gone back to an older state."""

_POLL_SECONDS = 0.5
_OWNER = ("account", "gateway", "database")
_PORT = re.compile(r":\d+(?=,|$)")
_CLAIM = """
local found = redis.call('HGETALL', KEYS[1])
if #found == 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return found
"""
_RAISE = """
local found = redis.call('HGET', KEYS[1], 'high_water') -- emptied meanwhile: it stays so
if found and tonumber(ARGV[1]) > tonumber(found) then
    redis.call('HSET', KEYS[1], 'high_water', ARGV[1])
end
"""
_UPDATE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""
_REBUILT = """
if redis.call('HGET', KEYS[1], 'rebuild_below') ~= ARGV[1] then return end -- it began anew
if ARGV[2] == '0' then
    redis.call('HDEL', KEYS[1], 'rebuild_below')
else
    redis.call('HSET', KEYS[1], 'rebuild_below', ARGV[2])
end
"""


def owner_of(settings: Settings, database: str = "") -> dict[str, str]:
    """Who this process works for; what its settings do not say is empty.

    Args:
        database: the token of `shared.storage.deployment`.

    Raises:
        SettingsError: as for `default_settings`.
    """
    own = default_settings(settings)
    every = account_settings(settings) if own is None else (own,)
    gateways = {gateway_of(one.epay_base_url) for one in every}
    accounts = {account_key(one.epay_account) for one in every}
    return {
        "account": ",".join(sorted(accounts)),
        "gateway": ",".join(sorted(gateways)),
        "database": database,
    }


class DeploymentMarks:
    """The hash in Redis. Every method is one round trip, and raises RedisUnavailable."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._claim = redis.client.register_script(_CLAIM)
        self._raise = redis.client.register_script(_RAISE)
        self._update = redis.client.register_script(_UPDATE)
        self._rebuilt = redis.client.register_script(_REBUILT)

    def read(self) -> dict[str, str]:
        """All fields; empty if Redis was emptied."""
        found = self._redis.run(lambda: self._redis.client.hgetall(KEY))
        return cast("dict[str, str]", found)

    def redis_run(self) -> str:
        """The id of the server process; another one after a restart and after a failover."""
        found = self._redis.run(lambda: self._redis.client.info("server"))
        return str(cast("dict[str, object]", found).get("run_id", ""))

    def claim(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Write the fields if there are none; return those that were there."""
        values = [part for item in fields.items() for part in item]
        found = cast("list[str]", self._redis.run(lambda: self._claim(keys=[KEY], args=values)))
        return dict(zip(found[::2], found[1::2], strict=True))

    def raise_high_water(self, mark: int) -> None:
        """Set the high-water mark, unless it is higher, or Redis was emptied meanwhile."""
        self._redis.run(lambda: self._raise(keys=[KEY], args=[mark]))

    def write(self, fields: Mapping[str, str]) -> None:
        """Overwrite these fields."""
        values = [part for item in fields.items() for part in item]
        self._redis.run(lambda: self._redis.client.hset(KEY, items=values))

    def update(self, fields: Mapping[str, str]) -> bool:
        """Overwrite these fields; False: Redis was emptied meanwhile, and stays so."""
        values = [part for item in fields.items() for part in item]
        return bool(self._redis.run(lambda: self._update(keys=[KEY], args=values)))

    def note_rebuilt(self, seen: str, below: int) -> None:
        """The marks of payouts from this id on are written anew; 0: all are.

        Args:
            seen: REBUILD_BELOW as it was read; if it is another now, nothing is noted.
        """
        self._redis.run(lambda: self._rebuilt(keys=[KEY], args=[seen, below]))


def other_owner(own: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """Why this process must not use the Redis whose hash is `found`; None: it may.

    What one side does not know is not compared. With the same database it is the same deployment:
    account and gateway are then judged for each payout (law 10).
    """
    if own["database"] and own["database"] == found.get("database"):
        return None
    differing = [name for name in _OWNER if _differs(own[name], found.get(name))]
    if differing == ["gateway"] and found["gateway"] == _PORT.sub("", own["gateway"]):
        return None  # written before the mark had ports: a worker corrects it
    if not differing:
        return None
    if differing == ["database"]:
        return (
            "Redis at REDIS_URL is used with another database of this account. If the database was"
            " replaced by another one or by an old backup, run `payouts recover`; if another"
            " deployment uses this Redis, give each a Redis of its own."
        )
    theirs = f"account {found.get('account') or '?'} at {found.get('gateway') or '?'}"
    ours = f"account {own['account'] or '?'} at {own['gateway'] or '?'}"
    return (
        f"Redis at REDIS_URL belongs to another deployment: {theirs}; this process works for"
        f" {ours}. Give each deployment a Redis of its own. If the settings of this deployment were"
        " changed on purpose, start a worker with the new ones first: it corrects the mark. If the"
        f" other deployment is gone, delete the key {KEY} in Redis."
    )


def _differs(own: str, found: str | None) -> bool:
    return bool(own and found and own != found)


def refuse_other_owner(
    settings: Settings, database: str = "", *, wait_seconds: float = 0.0
) -> str | None:
    """Why this process must not use the Redis. None also while Redis is away.

    Args:
        database: the token of `shared.storage.deployment`, where a database is at hand.
        wait_seconds: how long a worker that starts now may take to write the mark of new settings.

    Raises:
        SettingsError: as for `default_settings`.
    """
    own = owner_of(settings, database)
    redis = RedisClient(settings.redis_url)
    marks, end = DeploymentMarks(redis), time.monotonic() + wait_seconds
    try:
        while (problem := other_owner(own, marks.read())) is not None:
            if time.monotonic() >= end:
                return problem
            time.sleep(_POLL_SECONDS)
    except RedisUnavailable:
        return None
    finally:
        redis.close()
    return None
