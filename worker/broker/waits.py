"""Waiting for several queues at once, without taking anything from them.

Redis has no command that waits for several lists and removes nothing. So each queue has a
connection of its own, on which `BLMOVE queue queue RIGHT RIGHT` waits: it moves the oldest message
from the end of the list to the same end. Whatever is lost on such a connection, no message is.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from redis.exceptions import OutOfMemoryError


class QueueWait:
    """The connection on which a channel waits for one queue."""

    def __init__(self, client: Any, queue: str) -> None:
        self.client = client
        self.queue = queue
        self.handler = f"WAIT {queue}"
        """The name under which kombu's poller calls the channel when the reply is there."""
        self.sent_at: float | None = None
        """When the pending command was sent; None: none is pending."""
        self._command = ""
        self._redis_is_full = False

    def send(self, list_name: str, empty_list: str, seconds: float) -> None:
        """Wait for a message in the list, for so many seconds at most.

        A full Redis refuses BLMOVE, but not BLPOP: then wait for a list that is always empty.
        """
        if self._redis_is_full:
            self._send("BLPOP", empty_list, seconds)
        else:
            self._send("BLMOVE", list_name, list_name, "RIGHT", "RIGHT", seconds)

    def _send(self, command: str, *args: Any) -> None:
        self._command, self.sent_at = command, monotonic()
        self.client.connection.send_command(command, *args)

    def read(self) -> None:
        """Read the reply: the queue may have a message, or the time is over."""
        self.sent_at = None
        try:
            self.client.parse_response(self.client.connection, self._command)
        except OutOfMemoryError:
            self._redis_is_full = True
        except BaseException:
            self.client.connection.disconnect()
            raise
        else:
            self._redis_is_full = False

    def is_overdue(self, seconds: float) -> bool:
        """Whether the reply is later than `seconds`: the connection is dead."""
        return self.sent_at is not None and monotonic() - self.sent_at > seconds

    def close(self) -> None:
        """Close the connection; a pending wait ends with it and takes nothing."""
        self.sent_at = None
        if self.client.connection is not None:
            self.client.connection.disconnect()
