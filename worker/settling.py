"""Acknowledgements, told to Redis many at a time, along with what has to be asked of it anyway."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kombu.transport import redis, virtual

if TYPE_CHECKING:  # the stubs know the public half of kombu alone
    _QoS = Any
else:
    _QoS = redis.QoS


class RidingQoS(_QoS):  # type: ignore[misc]
    """The messages in our hands. What is done with is told to Redis by the channel's next script.

    Until then a message may come again if the worker dies, and then does nothing. Only where no
    script is due Redis is told at once.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settled: deque[str] = deque()
        self._carried: list[str] = []

    def expect(self, tags: Iterable[str]) -> None:
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

    @property
    def has_settled(self) -> bool:
        """Whether there is something that Redis is to be told."""
        return bool(self._settled or self._carried)

    def ack(self, delivery_tag: str) -> None:
        """Done with a message."""
        self._settled.append(delivery_tag)
        self._quick_ack(delivery_tag)
        if not self.channel.takes_soon:
            self.settle()

    def carried(self) -> list[str]:
        """What Redis is to be told, for who does; to be told again unless it `arrived`."""
        self._carried += [self._settled.popleft() for _ in range(len(self._settled))]
        return self._carried

    def arrived(self) -> None:
        """Redis was told what was carried."""
        self._carried = []

    def settle(self) -> None:
        """Tell Redis now. Raises what the connection raises."""
        tags = self.carried()
        if tags:
            with self.channel.conn_or_acquire() as client, client.pipeline(False) as pipe:
                pipe.zrem(self.unacked_index_key, *tags)
                pipe.hdel(self.unacked_key, *tags)
                pipe.execute()
            self.arrived()

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """The channel ends: what was done with is told, the rest given back."""
        with contextlib.suppress(*self.channel.connection_errors):
            self.settle()
        super().restore_unacked_once(stderr)
