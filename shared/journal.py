"""The chain of hashes through one payout's events, so that a changed or missing event shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64
"""What the first event of a payout names as the hash before it."""


def instant(at: datetime) -> str:
    """A time as it enters a hash: UTC, microseconds, one spelling."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def seal(previous_hash: str, event: Mapping[str, Any]) -> str:
    """The hash of an event: SHA-256 (hex) over the hash before it and the event as sorted JSON."""
    text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous_hash}\n{text}".encode()).hexdigest()
