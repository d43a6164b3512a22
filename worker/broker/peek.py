"""A look at a message that waits in a queue, without taking it."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

from shared.redis_client import RedisClient, RedisUnavailable


def oldest_lease(redis: RedisClient, queue: str) -> datetime | None:
    """The lease of the message that waits longest; None: none waits, or Redis does not say."""
    client: Any = redis.client
    try:
        return lease_of(redis.run(lambda: client.lindex(queue, -1)))
    except RedisUnavailable:
        return None


def lease_of(message: str | None) -> datetime | None:
    """The lease that a message of ours names in its kwargs; None without one."""
    try:
        _, kwargs, _ = json.loads(base64.b64decode(json.loads(message or "")["body"]))
        lease = datetime.fromisoformat(kwargs["lease"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return lease if lease.tzinfo else None
