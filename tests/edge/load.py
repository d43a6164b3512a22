"""A flood over kept-alive connections to loopback, cheap enough to share two cores with its victim.

Requests fall due at a fixed rate, whether or not the server keeps up. One that is due is sent on
the next free connection; what has not been sent when time is up was offered and never taken.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

HOST = "127.0.0.1"
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")


@dataclass
class Tally:
    """What became of a flood."""

    offered: int = 0
    sent: int = 0
    seconds: float = 0.0
    answers: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Connections that ended without an answer."""


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.busy = False
        self.received = b""

    def status(self) -> int | None:
        """The status of the answer, once all of it is there."""
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return None
        return int(head.split(b" ", 2)[1])


def flood(
    port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int
) -> Tally:
    """Send the requests in turn, `rate` a second for so many seconds."""
    tally, turn = Tally(), cycle(requests)
    begun = time.monotonic()
    with selectors.DefaultSelector() as selector:
        idle = [_Connection(port) for _ in range(connections)]
        for connection in idle:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        while (now := time.monotonic() - begun) < seconds:
            tally.offered = int(now * rate)
            while idle and tally.sent < tally.offered:
                _send(idle.pop(), next(turn), tally, selector, port)
            for key, _ in selector.select(timeout=0.001):
                idle.extend(_answered(key.data, tally, selector, port))
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    tally.seconds = time.monotonic() - begun
    return tally


def _send(
    connection: _Connection,
    request: bytes,
    tally: Tally,
    selector: selectors.BaseSelector,
    port: int,
) -> None:
    try:
        connection.socket.sendall(request)
    except OSError:
        _renew(connection, selector, port)
        connection.socket.sendall(request)
    connection.busy = True
    tally.sent += 1


def _answered(
    connection: _Connection, tally: Tally, selector: selectors.BaseSelector, port: int
) -> Iterator[_Connection]:
    """Take note of an answer; the connection, if it is free by that."""
    try:
        answer = connection.socket.recv(4096)
    except OSError:
        answer = b""
    if not answer:
        tally.broken += connection.busy
        was_busy = connection.busy
        _renew(connection, selector, port)
        if was_busy:
            yield connection
        return
    connection.received += answer
    if (status := connection.status()) is not None:
        tally.answers[status] += 1
        connection.busy, connection.received = False, b""
        yield connection


def _renew(connection: _Connection, selector: selectors.BaseSelector, port: int) -> None:
    selector.unregister(connection.socket)
    connection.socket.close()
    fresh = _Connection(port)
    connection.socket, connection.busy, connection.received = fresh.socket, False, b""
    selector.register(connection.socket, selectors.EVENT_READ, connection)
