"""A look at a message that waits in a queue, without taking it."""

from __future__ import annotations

import base64
import json
from datetime import datetime


def lease_of(message: str | None) -> datetime | None:
    """The lease that a message of ours names in its kwargs; None without one."""
    try:
        _, kwargs, _ = json.loads(base64.b64decode(json.loads(message or "")["body"]))
        lease = datetime.fromisoformat(kwargs["lease"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return lease if lease.tzinfo else None
