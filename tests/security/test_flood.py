"""The flood: briefly in `make test`, at its full length in `make chaos`; and that it floods."""

from __future__ import annotations

import socket
import sys
import threading

import pytest

from tests.security import flood
from tests.security.load_generator import HOST
from tests.security.load_generator import flood as offer

_ANSWER = b"HTTP/1.1 429 TOO MANY REQUESTS\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--rate", "1000", "--seconds", "3"], id="brief"),
        pytest.param([], id="full", marks=pytest.mark.chaos),
    ],
)
def test_signed_callbacks_pass_through_a_flood(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unsigned ones are offered at the whole rate, every signed one is accepted, no query is made.

    In full: 5,000 unsigned callbacks a second for 20 seconds.
    """
    monkeypatch.setattr(sys, "argv", ["flood", *arguments])
    with capsys.disabled():
        assert flood.main() == 0


def test_a_server_that_reads_nothing_is_offered_the_whole_rate() -> None:
    """Where connections are full others are opened: the flood never waits for its victim."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        server.bind((HOST, 0))
        server.listen(1000)
        tally = offer(server.getsockname()[1], [b"x" * 1000] * 10, 1000, 1.0, 4, 900, 10)
    assert tally.offered == 1000
    assert tally.connections > 4
    assert not tally.answers


def test_a_server_that_takes_no_connection_is_offered_nothing() -> None:
    """What no connection took does not count as offered."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        tally = offer(server.getsockname()[1], [b"x"] * 10, 1000, 0.2, 4, 8, 10)
    assert tally.offered == 0


def test_answers_in_pieces_are_counted_once() -> None:
    """A status line that comes in two pieces is one answer."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        answering = threading.Thread(target=_answer_in_pieces, args=(server,))
        answering.start()
        tally = offer(server.getsockname()[1], [b"x"] * 10, 100, 2.0, 1, 1, 10)
        answering.join()
    assert tally.answers == {429: 2}


def _answer_in_pieces(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = _ANSWER * 2
        for cut in (slice(0, 10), slice(10, len(_ANSWER) + 9), slice(len(_ANSWER) + 9, None)):
            connection.recv(10)
            connection.sendall(whole[cut])
        while connection.recv(1000):
            pass
