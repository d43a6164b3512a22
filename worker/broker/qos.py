"""Tracking of fetched messages, so that a channel that ends puts all of them back.

The private names of kombu that this module relies on: `worker.broker`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import structlog
from kombu.transport import redis, virtual

if TYPE_CHECKING:  # the stubs know the public half of kombu alone
    _QoS = Any
else:
    _QoS = redis.QoS

log = structlog.get_logger(__name__)


class AtomicFetchQoS(_QoS):  # type: ignore[misc]
    """The fetched messages of a channel. The script has stored them as unacknowledged already."""

    def track(self, tags: Iterable[str]) -> None:
        """Note fetched tags before their delivery, so that a closing channel restores them all."""
        if self._dirty:
            self._flush()
        for tag in tags:
            self._quick_append(tag, None)

    def append(self, message: Any, delivery_tag: Any) -> None:
        """Note the delivery of a message; a popped one is also stored as unacknowledged."""
        if self._is_undelivered(delivery_tag):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; another may take its place even if Redis cannot be reached.

        kombu does this in a transaction, which a full Redis refuses. Without one the index goes
        last, because an index entry without a message is cleaned up later and the reverse is not.
        """
        try:
            with self.channel.conn_or_acquire() as client, client.pipeline(False) as pipe:
                pipe.hdel(self.unacked_key, delivery_tag)
                pipe.zrem(self.unacked_index_key, delivery_tag)
                pipe.execute()
        finally:
            self._quick_ack(delivery_tag)

    def ack_undelivered(self, tag: str) -> None:
        """Acknowledge a tracked message unless it was delivered."""
        if self._is_undelivered(tag):
            self.ack(tag)

    def _is_undelivered(self, tag: object) -> bool:
        return isinstance(tag, str) and self._delivered.get(tag, self) is None

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back on its list; drop it if it cannot be read, and restore the others.

        Redis' JSON parser accepts texts that Python's does not.
        """
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (ValueError, TypeError, RecursionError) as error:
            log_invalid_message(error)
            self._remove_from_indices(tag).execute()


def log_invalid_message(error: Exception) -> None:
    """Log that an entry of a queue is not a message; its text may hold an account number."""
    log.error("message_refused", reason=f"not a message ({type(error).__name__})")
