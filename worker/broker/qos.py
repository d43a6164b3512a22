"""Tracking of fetched messages, and acknowledgements that the next fetch carries to Redis.

The private names of kombu that it relies on: `worker.broker`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import structlog
from kombu.transport import redis, virtual

if TYPE_CHECKING:  # the stubs know the public half of kombu alone
    _QoS = Any
else:
    _QoS = redis.QoS

log = structlog.get_logger(__name__)


class BatchedAckQoS(_QoS):  # type: ignore[misc]
    """The fetched messages of a channel. Their acknowledgements go with the channel's next fetch.

    Until then the message is redelivered if the worker dies; its task then finds nothing to do.
    Redis is told at once only if no fetch is due.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending_acks: deque[str] = deque()

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

    def ack_undelivered(self, tag: str) -> None:
        """Acknowledge a tracked message unless it was delivered."""
        if self._is_undelivered(tag):
            self.ack(tag)

    def _is_undelivered(self, tag: object) -> bool:
        return isinstance(tag, str) and self._delivered.get(tag, self) is None

    def requeue(self, tag: str) -> None:
        """Put a fetched message back on its list: its queue has no consumer any more."""
        self.restore_by_tag(tag)
        self._quick_ack(tag)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back on its list; drop it if it cannot be read, and restore the others.

        Redis' JSON parser accepts texts that Python's does not.
        """
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (ValueError, TypeError, RecursionError) as error:
            log_invalid_message(error)
            self._remove_from_indices(tag).execute()

    @property
    def has_pending_acks(self) -> bool:
        """Whether an acknowledgement has not reached Redis."""
        return bool(self._pending_acks)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message."""
        self._pending_acks.append(delivery_tag)
        self._quick_ack(delivery_tag)
        if not self.channel.carries_acks_soon:
            self.flush_acks()

    def pending(self) -> tuple[str, ...]:
        """Tags to acknowledge; they stay pending until `confirm_sent`."""
        return tuple(self._pending_acks)

    def confirm_sent(self, tags: Iterable[str]) -> None:
        """Redis has these acknowledgements."""
        for tag in tags:
            with contextlib.suppress(ValueError):  # sent twice, by a fetch and by flush_acks
                self._pending_acks.remove(tag)

    def flush_acks(self) -> None:
        """Send the pending acknowledgements now. Raises what the connection raises."""
        tags = self.pending()
        if tags:
            with self.channel.conn_or_acquire() as client, client.pipeline(False) as pipe:
                pipe.zrem(self.unacked_index_key, *tags)
                pipe.hdel(self.unacked_key, *tags)
                pipe.execute()
            self.confirm_sent(tags)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Send the pending acknowledgements, and restore the other messages: the channel ends."""
        try:
            with contextlib.suppress(*self.channel.connection_errors, self.channel.ResponseError):
                self.flush_acks()
        finally:
            super().restore_unacked_once(stderr)


def log_invalid_message(error: Exception) -> None:
    """Log that an entry of a queue is not a message; its text may hold an account number."""
    log.error("message_refused", reason=f"not a message ({type(error).__name__})")
