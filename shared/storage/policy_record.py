"""The settings by which the workers decide, on record: an act of a person goes by the same ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Engine, text

_READ = text("SELECT fingerprint, settings FROM payout_policy")
_RECORD = text(
    "INSERT INTO payout_policy (name, fingerprint, settings, at)"
    " VALUES ('workers', :fingerprint, CAST(:settings AS jsonb), :at)"
    " ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint,"
    " settings = excluded.settings, at = excluded.at"
)


def fingerprint(settings: Mapping[str, str]) -> str:
    """A short digest of the settings, the same for the same values."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]


def record_policy(engine: Engine, settings: Mapping[str, str], now: datetime) -> list[str]:
    """Record the settings of a worker that starts; the last one counts.

    Returns:
        The names of those that differ from the settings recorded before.
    """
    changed = policy_differences(engine, settings)
    values = {
        "fingerprint": fingerprint(settings),
        "settings": json.dumps(dict(settings)),
        "at": now,
    }
    with engine.begin() as connection:
        connection.execute(_RECORD, values)
    return list(changed)


def policy_differences(engine: Engine, settings: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name -> (value here, value of the workers), where they differ; empty without a record."""
    with engine.connect() as connection:
        found = connection.execute(_READ).one_or_none()
    if found is None or found.fingerprint == fingerprint(settings):
        return {}
    recorded: Mapping[str, str] = found.settings
    names = sorted(settings.keys() | recorded.keys())
    return {
        name: (settings.get(name, ""), recorded.get(name, ""))
        for name in names
        if settings.get(name, "") != recorded.get(name, "")
    }


def describe_differences(found: Mapping[str, tuple[str, str]]) -> str:
    """The differences for people."""
    return "; ".join(
        f"{name} is {here or 'not set'} here and {there or 'not set'} in the workers"
        for name, (here, there) in found.items()
    )
