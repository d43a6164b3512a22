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
from functools import partial
from pathlib import Path
from queue import Empty
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import DataError, NoScriptError

from shared.contract import QUEUE_BULK, QUEUE_SUBMIT
from worker.broker.qos import AtomicFetchQoS, log_invalid_message
from worker.broker.waits import QueueWait

if TYPE_CHECKING:  # the stubs know the public half of kombu alone
    _Channel = Any
    _MultiChannelPoller = Any
else:
    _Channel, _MultiChannelPoller = redis.Channel, redis.MultiChannelPoller

FETCH_SCRIPT = Path(__file__).with_name("fetch.lua").read_text(encoding="utf-8")
_FETCH_SHA = hashlib.sha1(FETCH_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_MAX_FETCH = 64
"""Messages that one fetch takes at most, however many threads are free."""
_TAKEN = {QUEUE_SUBMIT: -1, QUEUE_BULK: 1}
"""Which queues are taken before and after the others, which take turns."""
_INVALID_JSON = (ValueError, RecursionError)
_INVALID_MESSAGE = (*_INVALID_JSON, AttributeError, IndexError, KeyError, TypeError, DataError)


class AtomicFetchChannel(_Channel):  # type: ignore[misc]
    """kombu's Redis channel, which fetches by script and waits without removing anything.

    Its own connection only fetches. While there is nothing to fetch it waits for each queue on a
    connection of that queue (`worker.broker.waits`).
    """

    QoS = AtomicFetchQoS
    _fetch_next = True
    """Whether the next command is a fetch; otherwise the channel waits."""
    _is_waiting = False
    """Whether it waits for its queues, so that the next fetch may be far."""
    _script_is_loaded = False
    _requested = 0
    """Messages that the pending fetch may return."""
    _sent_acks: Sequence[str] = ()
    """Delivery tags that the pending fetch acknowledges."""
    _shared_client: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._waits: dict[str, QueueWait] = {}
        super().__init__(*args, **kwargs)

    @property
    def fetches_soon(self) -> bool:
        """Whether a fetch, which carries acknowledgements, is pending or comes next."""
        if self.closed or not self._active_queues:
            return False
        return bool(self._in_poll) or not self._is_waiting

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
        """Send a fetch; or, after one that left nothing behind, wait for `timeout` seconds."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        if self._fetch_next or self.qos.pending_acks:
            self._is_waiting = False
            self._in_poll = self.client.connection
            self._brpop_sent_at = monotonic()
            queues = sorted(queues, key=lambda queue: _TAKEN.get(queue, 0))
            steps = self.priority_steps
            self._send_fetch([self._q_for_pri(queue, step) for step in steps for queue in queues])
            return
        self._is_waiting = True
        seconds = (self.brpop_timeout if timeout is None else timeout) or 0
        for queue in queues:
            self._wait_for(queue, seconds)

    def _wait_for(self, queue: str, seconds: float) -> None:
        """Wait for a message in the queue, unless the last wait for it still goes on."""
        wait = self._waits.get(queue)
        if wait is None:
            wait = self._waits[queue] = QueueWait(self._create_client(asynchronous=True), queue)
            self.handlers[wait.handler] = partial(self._read_wait, wait)
        if wait.is_overdue(seconds + self.health_check_interval):
            wait.close()
        cycle = self.connection.cycle
        if not cycle._client_registered(self, wait.client, wait.handler):  # noqa: SLF001
            wait.close()
            cycle._register(self, wait.client, wait.handler)  # noqa: SLF001
        if wait.sent_at is None:
            empty = f"{queue}{self.sep}nothing"
            wait.send(self._q_for_pri(queue, self.priority_steps[0]), empty, seconds)

    def _read_wait(self, wait: QueueWait) -> None:
        """A wait is over: fetch next, also after a timeout, for it saw one priority alone.

        Raises:
            Empty: always; a wait brings no message.
        """
        if wait.sent_at is None:  # Redis closed the idle connection
            wait.close()
        else:
            wait.read()
            self._fetch_next = True
        raise Empty

    def _poll_error(self, type: str, **options: Any) -> None:  # noqa: A002 - kombu's name
        if type in {wait.handler for wait in self._waits.values()}:
            self.handlers[type]()
        else:
            super()._poll_error(type, **options)

    def _close_clients(self) -> None:
        for wait in self._waits.values():
            wait.close()
        super()._close_clients()

    def _send_fetch(self, lists: Sequence[str]) -> None:
        free = self.qos.can_consume_max_estimate()
        self._requested = _MAX_FETCH if free is None else min(free, _MAX_FETCH)
        keys = (self.unacked_key, self.unacked_index_key, *lists)
        self._sent_acks = tuple(self.qos.pending_acks)
        args = (len(keys), *keys, repr(time()), self._requested, *self._sent_acks)
        if self._script_is_loaded:
            self.client.connection.send_command("EVALSHA", _FETCH_SHA, *args)
        else:
            self.client.connection.send_command("EVAL", FETCH_SCRIPT, *args)

    def _brpop_read(self, **options: Any) -> bool:
        """Read the reply to the fetch; kombu also calls this before it closes a channel.

        Raises:
            Empty: no message.
        """
        del options
        try:
            fetched = self._read_reply()
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        self._fetch_next = len(fetched) == self._requested
        if not fetched:
            raise Empty
        self._deliver_fetched(fetched)
        return True

    def _read_reply(self) -> list[tuple[str, str, bytes]]:
        """The fetched messages, each with its list and delivery tag."""
        connection = self.client.connection
        try:
            reply = self.client.parse_response(connection, "EVALSHA")
        except NoScriptError:  # Redis was restarted
            self._script_is_loaded, self._fetch_next = False, True
            raise Empty from None
        except self.connection_errors:
            connection.disconnect()
            raise
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


class _Poller(_MultiChannelPoller):  # type: ignore[misc]
    """kombu's poller, which reads the end of a wait also while no thread is free.

    kombu leaves it unread then, and the event loop would spin; a wait brings no message.
    """

    def on_readable(self, fileno: int) -> Any:
        channel, kind = self._fd_to_chan.get(fileno, (None, ""))
        if channel is not None and kind not in {"BRPOP", "LISTEN"}:
            return channel.handlers[kind]()
        return super().on_readable(fileno)


class Transport(redis.Transport):
    """For redis:// and rediss://."""

    Channel = AtomicFetchChannel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = _Poller()

    def _deliver(self, message: Any, queue: str | None) -> None:
        """Drop an entry that kombu did not write: kombu trusts each, and the worker would end."""
        try:
            super()._deliver(message, queue)
        except _INVALID_MESSAGE as error:
            log_invalid_message(error)
