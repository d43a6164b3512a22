"""Callbacks as fast as they are answered, over kept-alive connections; every one made beforehand.

`python -m bench.load` prints what became of them as JSON.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from bench.payloads import callback_form
from bench.stub_gateway import HOST

_END = b"\r\n\r\n"
_ACCEPTED = b"success"
_FORMS = 2000


@dataclass
class Tally:
    """What came back."""

    accepted: int = 0
    refused: int = 0
    broken: int = 0


class Connection:
    """One connection with one callback under way."""

    def __init__(self, port: int, turn: Iterator[bytes]) -> None:
        self._turn = turn
        self._received = b""
        self.socket = socket.create_connection((HOST, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> None:
        """Send the next callback."""
        self._received = b""
        self.socket.sendall(next(self._turn))

    def answer(self) -> bytes | None:
        """The answer's body once it is there, which may come after the head; None until then.

        Raises:
            ConnectionError: the connection ended.
        """
        piece = self.socket.recv(4096)
        if not piece:
            raise ConnectionResetError
        self._received += piece
        _, end, body = self._received.partition(_END)
        return body if end and body else None


def requests(count: int) -> list[bytes]:
    """So many callbacks for different orders, as HTTP."""
    made = []
    for number in range(count):
        form = callback_form(f"bench-{number:07}").encode()
        head = (
            f"POST /epay/callback HTTP/1.1\r\nHost: {HOST}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(form)}\r\n\r\n"
        )
        made.append(head.encode() + form)
    return made


def run(port: int, seconds: float, connections: int) -> tuple[Tally, float]:
    """Send for so long; the tally, and the seconds that it took."""
    turn: Iterator[bytes] = cycle(requests(_FORMS))
    tally = Tally()
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            _open(selector, port, turn)
        begun = time.perf_counter()
        while time.perf_counter() < begun + seconds:
            for key, _ in selector.select(timeout=1):
                connection: Connection = key.data
                try:
                    body = connection.answer()
                except ConnectionError:
                    tally.broken += 1
                    selector.unregister(connection.socket)
                    connection.socket.close()
                    _open(selector, port, turn)
                    continue
                if body is not None:
                    tally.accepted += body == _ACCEPTED
                    tally.refused += body != _ACCEPTED
                    connection.send()
        took = time.perf_counter() - begun
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return tally, took


def _open(selector: selectors.BaseSelector, port: int, turn: Iterator[bytes]) -> None:
    connection = Connection(port, turn)
    selector.register(connection.socket, selectors.EVENT_READ, connection)
    connection.send()


def main() -> None:
    """Run once."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=16)
    given = parser.parse_args()
    tally, seconds = run(given.port, given.seconds, given.connections)
    print(json.dumps({**vars(tally), "seconds": seconds}))


if __name__ == "__main__":
    main()
