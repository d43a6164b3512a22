"""Restores our messages from the `unacked` keys that workers of earlier releases shared with apps.

An upgrade moves the workers to keys of their own (`UNACKED_KEYS` of `shared.messaging`). A message
that an old worker held when it was killed stays under kombu's default keys, where our workers do
not look any more. This module can go once no release before those keys is upgraded.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import redis
import structlog
from celery import Celery

from shared.contract import QUEUE_BULK, QUEUE_OF, QUEUE_PARKED
from shared.messaging.celery_config import KOMBU_UNACKED_KEYS

log = structlog.get_logger(__name__)

_OUR_QUEUES = frozenset({*QUEUE_OF.values(), QUEUE_BULK, QUEUE_PARKED})
_BATCH = 500
_UNREADABLE = (AttributeError, RecursionError, TypeError, ValueError, redis.ResponseError)


def start_restoring(app: Celery, seconds: float) -> None:
    """Restore now and then every `seconds`, in a thread of its own, until the process ends.

    Once is not enough: in a rolling upgrade an old worker may be killed after the last new one
    has started.
    """

    def run() -> None:
        while True:
            _restore(app)
            time.sleep(seconds)

    threading.Thread(target=run, name="shared-unacked", daemon=True).start()


def restore_expired(channel: Any) -> int:
    """Put our messages that were taken longer than the visibility timeout ago back on their lists.

    Younger ones may be in the hands of an old worker that still runs. Messages of other apps stay.
    kombu moves each in a transaction, so it is restored once, however many workers look for it.

    Returns:
        How many messages were ours and overdue.

    Raises:
        redis.RedisError: Redis does not answer, or holds something else under these keys.
    """
    restored = 0
    latest = time.time() - channel.visibility_timeout
    with channel.conn_or_acquire() as client:
        # the newest first, as kombu does it: what is restored last is taken first
        tags = client.zrange(channel.unacked_index_key, latest, 0, desc=True, byscore=True)
        for start in range(0, len(tags), _BATCH):
            batch = tags[start : start + _BATCH]
            entries = client.hmget(channel.unacked_key, batch)
            for tag, entry in zip(batch, entries, strict=True):
                restored += entry is not None and _restore_ours(channel, tag, entry)
    return restored


def _restore_ours(channel: Any, tag: bytes, entry: bytes) -> bool:
    """Restore `[message, exchange, routing_key]` if kombu would put it on queues of ours alone."""
    try:
        _, exchange, routing_key = json.loads(entry)
        queues = channel._lookup(exchange, routing_key)  # noqa: SLF001 - where kombu puts it
        if not queues or not _OUR_QUEUES.issuperset(queues):
            return False
        channel.qos.restore_by_tag(tag)
    except _UNREADABLE:  # it stays where it is, and keeps no other back
        return False
    return True


def _restore(app: Celery) -> None:
    try:
        with (
            app.connection_for_read(transport_options=KOMBU_UNACKED_KEYS) as connection,
            connection.channel() as channel,
        ):
            restored = restore_expired(channel)
        if restored:
            log.info("messages_restored", count=restored, source="keys of earlier releases")
    except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
        log.warning("messages_not_restored", error=type(error).__name__)
