"""The chain of hashes through one payout's events, so that a changed or missing event shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

GENESIS = "0" * 64
"""What the first event of a payout names as the hash before it."""


def chain_hash(previous_hash: str, event: Mapping[str, Any]) -> str:
    """The hash of an event: SHA-256 (hex) over the hash before it and the event as sorted JSON."""
    return hashlib.sha256(f"{previous_hash}\n{_canonical(event)}".encode()).hexdigest()


def digest(fields: Mapping[str, Any]) -> str:
    """The SHA-256 (hex) of fields as sorted JSON."""
    return hashlib.sha256(_canonical(fields).encode()).hexdigest()


def _plain(value: object) -> str:
    """Times in UTC to the microsecond; decimals without the zeros that say nothing."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    msg = f"{type(value).__name__} has no place in a journal"
    raise TypeError(msg)


_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
).encode
