"""kombu's Redis transport with an atomic fetch, so that no message is lost on its way to a worker.

kombu pops a message (BRPOP) and then stores it as unacknowledged. A message that was popped when
the connection or the worker dies is lost, late acknowledgement or not (celery/celery#7950,
celery/kombu#305). Here one script does both, and acknowledges what is done: one round trip where
kombu makes three. `BROKER_ATOMIC_FETCH=off` replaces this module by kombu's own transport. The
private names that it relies on: `worker.broker`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import DataError, NoScriptError, OutOfMemoryError

from worker.broker.qos import AtomicFetchQoS, log_invalid_message

if TYPE_CHECKING:  # the stubs know the public half of kombu alone
    _Channel = Any
else:
    _Channel = redis.Channel

FETCH_SCRIPT = Path(__file__).with_name("fetch.lua").read_text(encoding="utf-8")
_FETCH_SHA = hashlib.sha1(FETCH_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_MAX_FETCH = 64
"""Messages that one fetch takes at most, however many threads are free."""
_INVALID_JSON = (ValueError, RecursionError)
_INVALID_MESSAGE = (*_INVALID_JSON, AttributeError, IndexError, KeyError, TypeError, DataError)


class AtomicFetchChannel(_Channel):  # type: ignore[misc]
    """kombu's Redis channel, which fetches by script and waits without removing anything.

    It waits for one queue with BLMOVE from the end of the list to the same end. Redis has no such
    command for several lists: a channel of several queues waits with BRPOP like kombu's own, and
    the message that ends such a wait can be lost.
    """

    QoS = AtomicFetchQoS
    _pending_command = ""
    """The command whose reply is awaited; EVALSHA for every fetch."""
    _fetch_next = True
    """Whether the next command is a fetch; otherwise a wait."""
    _redis_is_full = False
    """Redis is out of memory and refuses BLMOVE: wait for a list that is always empty instead."""
    _script_is_loaded = False
    _requested = 0
    """Messages that the pending fetch may return."""
    _sent_acks: Sequence[str] = ()
    """Delivery tags that the pending fetch acknowledges."""
    _shared_client: Any = None

    @property
    def fetches_soon(self) -> bool:
        """Whether a fetch, which carries acknowledgements, is pending or comes next."""
        if self.closed or not self._active_queues:
            return False
        return not self._in_poll or self._pending_command == "EVALSHA"

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Lend one client to all threads: kombu makes one for every message and acknowledgement.

        A client holds nothing but the pool; a new pool gets a new client.
        """
        if client is None:
            client = self._shared_client
            if client is None or client.connection_pool is not self.pool:
                client = self._shared_client = self._create_client()
        yield client

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Send the next command: a fetch, or a wait of `timeout` seconds."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        lists = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        if self._fetch_next or self.qos.pending_acks:
            self._send_fetch(lists)
            return
        seconds = (self.brpop_timeout if timeout is None else timeout) or 0
        if self._redis_is_full:
            self._send("BLPOP", f"{lists[0]}{self.sep}nothing", seconds)
        elif len(queues) == 1:
            self._send("BLMOVE", lists[0], lists[0], "RIGHT", "RIGHT", seconds)
        else:
            self._send("BRPOP", *lists, seconds)

    def _send(self, command: str, *args: Any) -> None:
        self._pending_command = command
        self.client.connection.send_command(command, *args)

    def _send_fetch(self, lists: Sequence[str]) -> None:
        free = self.qos.can_consume_max_estimate()
        self._requested = _MAX_FETCH if free is None else min(free, _MAX_FETCH)
        keys = (self.unacked_key, self.unacked_index_key, *lists)
        self._sent_acks = tuple(self.qos.pending_acks)
        args = (len(keys), *keys, repr(time()), self._requested, *self._sent_acks)
        if self._script_is_loaded:
            self._send("EVALSHA", _FETCH_SHA, *args)
        else:
            self._send("EVAL", FETCH_SCRIPT, *args)
            self._pending_command = "EVALSHA"

    def _brpop_read(self, **options: Any) -> bool:
        """Read the reply to the pending command; kombu also calls this before it closes a channel.

        Raises:
            Empty: no message.
        """
        if self._pending_command == "BRPOP":
            self._fetch_next = self._read_popped_message(**options)
            return True
        try:
            fetched = self._read_reply()
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if self._pending_command != "EVALSHA":
            self._fetch_next = True  # also after a timeout: BLMOVE saw the first list alone
            raise Empty
        self._fetch_next = len(fetched) == self._requested
        if not fetched:
            raise Empty
        self._deliver_fetched(fetched)
        return True

    def _read_popped_message(self, **options: Any) -> bool:
        try:
            return bool(super()._brpop_read(**options))
        except _INVALID_JSON as error:
            log_invalid_message(error)
            return True

    def _read_reply(self) -> list[tuple[str, str, bytes]]:
        """The fetched messages, each with its list and delivery tag; none after a wait."""
        connection = self.client.connection
        try:
            reply = self.client.parse_response(connection, self._pending_command)
        except NoScriptError:  # Redis was restarted
            self._script_is_loaded, self._fetch_next = False, True
            raise Empty from None
        except OutOfMemoryError:
            if self._pending_command != "BLMOVE":
                raise
            self._redis_is_full = True
            return []
        except self.connection_errors:
            connection.disconnect()
            raise
        if self._pending_command != "EVALSHA":
            self._redis_is_full = False
            return []
        self._script_is_loaded = True
        self.qos.confirm_acks(self._sent_acks)
        triples = zip(reply[::3], reply[1::3], reply[2::3], strict=True)
        return [(bytes_to_str(key), bytes_to_str(tag), text) for key, tag, text in triples]

    def _deliver_fetched(self, fetched: Sequence[tuple[str, str, bytes]]) -> None:
        """Hand each message to the consumer of its queue; invalid ones are acknowledged."""
        self.qos.track([tag for _, tag, _ in fetched if tag])
        for key, tag, text in fetched:
            queue = key.rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            if tag and queue not in self.connection._callbacks:  # noqa: SLF001 - consumer cancelled
                self.qos.reject(tag, requeue=True)
                continue
            try:
                message = loads(bytes_to_str(text))
            except _INVALID_JSON as error:
                log_invalid_message(error)
            else:
                self.connection._deliver(message, queue)  # noqa: SLF001 - as kombu's own channel
            self.qos.ack_undelivered(tag)


class AtomicFetchSentinelChannel(AtomicFetchChannel, redis.SentinelChannel):  # type: ignore[misc]
    """The same behind Sentinel."""


class _DropInvalidMessages:
    """kombu trusts the entries of its lists: one that it did not write ends the worker."""

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[misc]
        except _INVALID_MESSAGE as error:
            log_invalid_message(error)


class Transport(_DropInvalidMessages, redis.Transport):  # type: ignore[misc]
    """For redis:// and rediss://."""

    Channel = AtomicFetchChannel


class SentinelTransport(_DropInvalidMessages, redis.SentinelTransport):  # type: ignore[misc]
    """For sentinel://."""

    Channel = AtomicFetchSentinelChannel
