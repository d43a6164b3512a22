"""Acknowledgements, told to Redis many at a time, along with what has to be asked of it anyway."""

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
    """The messages in our hands. What is done with is told to Redis by the channel's next script.

    Until then a message may come again if the worker dies, and then does nothing. Only where no
    script is due Redis is told at once.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settled: deque[str] = deque()

    def track(self, tags: Iterable[str]) -> None:
        """These are among the unacked now: whatever ends the channel, they are given back."""
        if self._dirty:
            self._flush()
        for tag in tags:
            self._quick_append(tag, None)

    def append(self, message: Any, delivery_tag: Any) -> None:
        """A message comes on; one that nobody expected is still to be put among the unacked."""
        if self._is_expected(delivery_tag):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def dropped(self, tag: str) -> None:
        """If the message that was expected did not come on, it is not to come again."""
        if self._is_expected(tag):
            self.ack(tag)

    def _is_expected(self, tag: object) -> bool:
        return isinstance(tag, str) and self._delivered.get(tag, self) is None

    def requeue(self, tag: str) -> None:
        """Nobody takes this message here any more: it goes back to where it came from."""
        self.restore_by_tag(tag)
        self._quick_ack(tag)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back on its list; one that cannot be read must not keep others from it.

        Redis reads some JSON that Python does not.
        """
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (ValueError, TypeError, RecursionError) as error:
            log.error("message_refused", reason=f"it is no message ({type(error).__name__})")  # noqa: TRY400
            self._remove_from_indices(tag).execute()

    @property
    def has_settled(self) -> bool:
        """Whether there is something that Redis is to be told."""
        return bool(self._settled)

    def ack(self, delivery_tag: str) -> None:
        """Done with a message."""
        self._settled.append(delivery_tag)
        self._quick_ack(delivery_tag)
        if not self.channel.takes_soon:
            self.flush_acks()

    def pending(self) -> tuple[str, ...]:
        """What Redis is to be told, for who does; to be told again unless it `arrived`."""
        return tuple(self._settled)

    def sent(self, told: Iterable[str]) -> None:
        """Redis was told these."""
        for tag in told:
            with contextlib.suppress(ValueError):  # told by two ways
                self._settled.remove(tag)

    def flush_acks(self) -> None:
        """Tell Redis now. Raises what the connection raises."""
        tags = self.pending()
        if tags:
            with self.channel.conn_or_acquire() as client, client.pipeline(False) as pipe:
                pipe.zrem(self.unacked_index_key, *tags)
                pipe.hdel(self.unacked_key, *tags)
                pipe.execute()
            self.sent(tags)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """The channel ends: what was done with is told, the rest given back."""
        try:
            with contextlib.suppress(*self.channel.connection_errors, self.channel.ResponseError):
                self.flush_acks()
        finally:
            super().restore_unacked_once(stderr)
