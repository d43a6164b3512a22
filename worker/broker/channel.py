"""Taking messages off Redis so that none is ever between the queue and the unacked.

kombu pops a message (BRPOP) and then writes it where unacknowledged messages are kept: what is
popped when a connection or a worker dies in between is gone, late acknowledgement or not
(celery/celery#7950, celery/kombu#305). Here one script moves messages and brings along the
acknowledgements that came meanwhile: nothing can be lost on the way, and a busy worker makes one
round trip for what takes kombu three.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from queue import Empty
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import structlog
from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import NoScriptError, OutOfMemoryError

from worker.broker.qos import BatchedAckQoS

if TYPE_CHECKING:  # the stubs know the public half of kombu alone
    _Channel = Any
else:
    _Channel = redis.Channel

log = structlog.get_logger(__name__)

FETCH = """
local unacked, index, now, most = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
-- what is of the wrong type is met before anything is moved: nothing is rolled back
for nth = 3, #KEYS do redis.call('LLEN', KEYS[nth]) end
-- a script that has written may go on writing when Redis is full, and taking makes room
redis.call('ZREM', index, '')
for nth = 3, #ARGV do
  redis.call('ZREM', index, ARGV[nth])
  redis.call('HDEL', unacked, ARGV[nth])
end
local taken = {}
for nth = 3, #KEYS do
  while #taken < most * 3 do
    local item = redis.call('LINDEX', KEYS[nth], -1)
    if not item then break end
    local read, message = pcall(cjson.decode, item)
    local properties = read and type(message) == 'table' and message.properties
    local tag = type(properties) == 'table' and properties.delivery_tag
    local way = type(properties) == 'table' and properties.delivery_info
    if type(tag) == 'string' and tag ~= '' and type(way) == 'table'
        and type(way.exchange) == 'string' and type(way.routing_key) == 'string' then
      local place = cjson.encode(way.exchange) .. ',' .. cjson.encode(way.routing_key)
      redis.call('HSET', unacked, tag, '[' .. item .. ',' .. place .. ']')
      redis.call('ZADD', index, now, tag)
    else
      tag = ''
    end
    redis.call('RPOP', KEYS[nth])
    taken[#taken + 1] = KEYS[nth]
    taken[#taken + 1] = tag
    taken[#taken + 1] = item
  end
end
return taken
"""
"""Acknowledges, then moves up to `most` messages to the unacked, as kombu keeps them there; answers
with the list, the tag and the text of each. What is no message of kombu's is taken off under no
tag: whoever reads it drops it."""

_MOST = 64
"""Messages that are taken at once, however many threads are free."""


class AtomicFetchChannel(_Channel):  # type: ignore[misc]
    """kombu's Redis channel, which takes by script, and waits in a way that takes nothing.

    Consuming one queue, it waits with BLMOVE from the end of the list to the very same place.
    Redis has no such command for several lists: there a message that ends a wait comes by BRPOP,
    as with kombu alone, and what is behind it by script.
    """

    QoS = BatchedAckQoS
    _sent = ""
    """The command whose answer is awaited."""
    _look = True
    """Whether it is worth taking what is there, before waiting."""
    _is_full = False
    """Redis is full and refuses BLMOVE: the next wait is for a list that nobody fills."""
    _asked = 0
    _told: Sequence[str] = ()
    """The acknowledgements that went with the last script."""
    _script: str | None = None
    """The name of the script in Redis, once it has run there."""

    @property
    def takes_soon(self) -> bool:
        """Whether a script is under way or comes next, which acknowledgements can go with."""
        if self.closed or not self._active_queues:
            return False
        return not self._in_poll or self._sent == "EVALSHA"

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        lists = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        if self._look or self.qos.has_settled:
            self._send("EVALSHA", *self._taking(lists))
            return
        seconds = (self.brpop_timeout if timeout is None else timeout) or 0
        if self._is_full:
            self._send("BLPOP", f"{lists[0]}{self.sep}nothing", seconds)
        elif len(queues) == 1:
            self._send("BLMOVE", lists[0], lists[0], "RIGHT", "RIGHT", seconds)
        else:
            self._send("BRPOP", *lists, seconds)

    def _taking(self, lists: Sequence[str]) -> list[Any]:
        free = self.qos.can_consume_max_estimate()
        self._asked = _MOST if free is None else min(free, _MOST)
        self._told = self.qos.pending()
        keys = (self.unacked_key, self.unacked_index_key, *lists)
        return [len(keys), *keys, repr(time()), self._asked, *self._told]

    def _send(self, command: str, *args: Any) -> None:
        self._sent = command
        if command == "EVALSHA":
            known = self._script
            args = (FETCH if known is None else known, *args)
            command = "EVAL" if known is None else command
        self.client.connection.send_command(command, *args)

    def _brpop_read(self, **options: Any) -> bool:
        """What came of the command that was sent; also called at the end, for what is under way.

        Raises:
            Empty: no message.
        """
        if self._sent == "BRPOP":
            self._look = self._popped(**options)
            return True
        try:
            answer = self._answer()
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if self._sent != "EVALSHA":
            self._look = True  # after a wait in vain too: it was for the first list alone
            raise Empty
        self._look = len(answer) == self._asked
        if not answer:
            raise Empty
        self._hand_on(answer)
        return True

    def _answer(self) -> list[tuple[str, str, bytes]]:
        connection = self.client.connection
        try:
            answer = self.client.parse_response(connection, self._sent)
        except NoScriptError:  # Redis was started anew
            self._script, self._look = None, True
            raise Empty from None
        except OutOfMemoryError:
            if self._sent != "BLMOVE":
                raise
            self._is_full = True
            return []
        except self.connection_errors:
            connection.disconnect()
            raise
        if self._sent != "EVALSHA":
            self._is_full = False
            return []
        self._script = self._script or self.client.register_script(FETCH).sha
        self.qos.sent(self._told)
        return list(_triples(answer))

    def _hand_on(self, taken: Sequence[tuple[str, str, bytes]]) -> None:
        """Give each message to whom it is for; what comes to nothing does not come again."""
        self.qos.track([tag for _, tag, _ in taken if tag])
        for name, tag, text in taken:
            queue = name.rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            if tag and queue not in self.connection._callbacks:  # noqa: SLF001 - nobody takes it any more
                self.qos.requeue(tag)
                continue
            try:
                message = loads(bytes_to_str(text))
            except (ValueError, RecursionError) as error:  # it is no JSON
                drop(error)
            else:
                self.connection._deliver(message, queue)  # noqa: SLF001 - as kombu's own channel
            self.qos.dropped(tag)

    def _popped(self, **options: Any) -> bool:
        try:
            return bool(super()._brpop_read(**options))
        except (ValueError, RecursionError) as error:
            drop(error)
            return True


def drop(error: Exception) -> None:
    """What came off a list is no message at all: say so, and go on."""
    log.error("message_refused", reason=f"it is no message ({type(error).__name__})")


def _triples(answer: Sequence[bytes]) -> Iterator[tuple[str, str, bytes]]:
    for nth in range(0, len(answer), 3):
        yield bytes_to_str(answer[nth]), bytes_to_str(answer[nth + 1]), answer[nth + 2]
