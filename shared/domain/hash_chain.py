"""The hash chain through a payout's journal: a changed or missing event is found (law 7). Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

GENESIS = "0" * 64
"""The previous hash of a payout's first event."""


def chain_hash(previous_hash: str, event: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the previous hash and the event as sorted JSON."""
    return hashlib.sha256(f"{previous_hash}\n{_canonical(event)}".encode()).hexdigest()


def digest(fields: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the fields as sorted JSON."""
    return hashlib.sha256(_canonical(fields).encode()).hexdigest()


def _to_json(value: object) -> str:
    """Times in UTC to the microsecond; decimals without trailing zeros."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    raise TypeError(f"a {type(value).__name__} cannot be hashed")


_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_to_json
).encode
