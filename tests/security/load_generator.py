"""A flood that is offered at its rate whatever its victim does, cheap enough to share its cores.

Requests fall due at a fixed rate. Those of one turn are written together (pipelined) to the next
connection that takes them; nobody waits for answers. A connection of which the server's kernel
takes no more is left alone and another one is opened, as a real flood would do. So what counts as
offered has reached the server's side, but for the last write to each connection.
"""

from __future__ import annotations

import fcntl
import re
import selectors
import socket
import struct
import termios
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

HOST = "127.0.0.1"
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_STATUS_BYTES = len(b"HTTP/1.1 200")
_READ_BYTES = 1 << 18
_TURN_SECONDS = 0.01


@dataclass
class Tally:
    """What became of a flood; requests, where nothing else is said."""

    offered: int = 0
    """Written to connections."""
    stuck_bytes: int = 0
    """Of what was written: not in the server's kernel when time was up."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the flood itself."""
    answers: Counter[int] = field(default_factory=Counter)
    connections: int = 0
    """Opened in all."""
    broken: int = 0
    """Connections that the server ended."""


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex((HOST, port))
        self._tail = b""

    def offer(self, data: bytes) -> bool:
        """Write all of it, or nothing while the server has not taken what was written before.

        Raises:
            OSError: the connection is over.
        """
        if self.stuck_bytes():
            return False
        try:
            written = self.socket.send(data)
        except BlockingIOError:  # not connected yet: the server's backlog is full
            return False
        if written < len(data):
            raise OSError("a batch larger than an empty buffer")
        return True

    def stuck_bytes(self) -> int:
        """What the server's kernel has not taken."""
        raw = fcntl.ioctl(self.socket, termios.TIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", raw)[0])

    def answers(self) -> list[int] | None:
        """The statuses of the answers that came; None when the connection is over."""
        try:
            received = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not received:
            return None
        text = self._tail + received
        self._tail = text[1 - _STATUS_BYTES :]
        return [int(status) for status in _STATUS.findall(text)]


class _Flood:
    def __init__(self, port: int, connections: int, most_connections: int) -> None:
        self.tally = Tally()
        self._port = port
        self._most = most_connections
        self._selector = selectors.DefaultSelector()
        self._turns = deque(self._open() for _ in range(connections))

    def offer(self, blob: bytes) -> bool:
        """Write a batch; False when no connection takes it and no more may be opened."""
        for _ in range(len(self._turns)):
            connection = self._turns.popleft()
            if connection.socket.fileno() < 0:
                continue
            self._turns.append(connection)
            if self._write(connection, blob):
                return True
        if len(self._turns) >= self._most:
            return False
        self._turns.append(self._open())
        return self._write(self._turns[-1], blob)

    def _write(self, connection: _Connection, blob: bytes) -> bool:
        try:
            return connection.offer(blob)
        except OSError:
            self._end(connection)
            return False

    def read(self) -> None:
        """Take note of the answers that are there."""
        for key, _ in self._selector.select(0):
            answers = key.data.answers()
            if answers is None:
                self._end(key.data)
            else:
                self.tally.answers.update(answers)

    def close(self) -> None:
        """End all connections."""
        for key in list(self._selector.get_map().values()):
            self.tally.stuck_bytes += key.data.stuck_bytes()
            key.data.socket.close()
        self._selector.close()

    def _open(self) -> _Connection:
        connection = _Connection(self._port)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self.tally.connections += 1
        return connection

    def _end(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self.tally.broken += 1


def flood(
    port: int,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    connections: int,
    most_connections: int,
    batch: int,
) -> Tally:
    """Offer the requests in turn, `rate` a second for so many seconds, `batch` to a write."""
    blobs = cycle(
        [b"".join(requests[at : at + batch]) for at in range(0, len(requests) - batch + 1, batch)]
    )
    flooding = _Flood(port, connections, most_connections)
    tally, blob = flooding.tally, next(blobs)
    begun, cpu = time.monotonic(), time.process_time()
    now = 0.0
    while now < seconds:
        time.sleep(_TURN_SECONDS)
        now = min(time.monotonic() - begun, seconds)
        due = int(now * rate) // batch * batch
        while tally.offered < due and flooding.offer(blob):
            tally.offered, blob = tally.offered + batch, next(blobs)
        flooding.read()
    tally.seconds, tally.cpu_seconds = time.monotonic() - begun, time.process_time() - cpu
    flooding.close()
    return tally
