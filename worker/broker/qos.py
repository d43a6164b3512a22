"""Tracking of fetched messages, so that a channel that ends puts all of them back.

The private names of kombu that this module relies on: `worker.broker`.
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


class AtomicFetchQoS(_QoS):  # type: ignore[misc]
    """The fetched messages of a channel. The script has stored them as unacknowledged already."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pending_acks: deque[str] = deque()
        """Delivery tags of messages that are done and still unacknowledged in Redis."""

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
        """Acknowledge a message with the channel's next fetch, or now if none is due.

        Until then the message is redelivered if the worker dies; its task then finds nothing to do.
        Another message may take its place even if Redis cannot be reached.
        """
        self.pending_acks.append(delivery_tag)
        self._quick_ack(delivery_tag)
        if not self.channel.fetches_soon:
            self.flush_acks()

    def confirm_acks(self, tags: Iterable[str]) -> None:
        """Forget acknowledgements that have reached Redis."""
        for tag in tags:
            with contextlib.suppress(ValueError):  # sent twice, by a fetch and by flush_acks
                self.pending_acks.remove(tag)

    def flush_acks(self) -> None:
        """Send the pending acknowledgements. Raises what the connection raises.

        kombu does this in a transaction, which a full Redis refuses. Without one the index goes
        last, because an index entry without a message is cleaned up later and the reverse is not.
        """
        if tags := tuple(self.pending_acks):
            with self.channel.conn_or_acquire() as client, client.pipeline(False) as pipe:
                pipe.hdel(self.unacked_key, *tags)
                pipe.zrem(self.unacked_index_key, *tags)
                pipe.execute()
            self.confirm_acks(tags)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Send the pending acknowledgements, and restore the other messages: the channel ends."""
        with contextlib.suppress(*self.channel.connection_errors, self.channel.ResponseError):
            self.flush_acks()
        super().restore_unacked_once(stderr)

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
