"""Law 2: an answer that is lost, garbled or undocumented leaves the outcome unknown."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.domain.gateway import OutcomeUnknown, Report
from tests.support.scripted_gateway import (
    GOOD,
    HUGE,
    KEY,
    LONG,
    ORDER,
    SOON,
    Gateway,
    MakeClient,
    MakeGateway,
    envelope,
    http_answer,
    order_data,
    reset,
)


@pytest.mark.parametrize(
    "behave",
    [
        reset,
        lambda sock: None,
        lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"),
        lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        lambda sock: sock.sendall(http_answer(b"{}", headers="Content-Encoding: gzip\r\n")),
        lambda sock: sock.sendall(b"220 smtp ready\r\n\r\n"),
        lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"),
        lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n"),
        lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n{}"),
    ],
    ids=[
        "reset",
        "end",
        "half body",
        "bad chunk",
        "bad gzip",
        "not http",
        "many headers",
        "long header",
        "two lengths",
    ],
)
def test_lost_or_garbled_answer_is_unknown_and_never_asked_again(
    gateway: MakeGateway, client_for: MakeClient, behave: Callable[[socket.socket], None]
) -> None:
    """One request reached the gateway, whatever became of its answer."""
    server = gateway(lambda _, sock, __: behave(sock))
    answer = client_for(server).create(ORDER)
    assert answer == OutcomeUnknown("connection lost or answer garbled")
    assert len(server.requests) == 1


def test_answer_to_half_a_request_is_not_believed(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """An answer that comes while the request cannot be finished proves nothing."""

    def answer_early(_gateway: Gateway, sock: socket.socket, _request: dict[str, Any]) -> None:
        sock.sendall(GOOD)
        sock.shutdown(socket.SHUT_RD)

    answer = client_for(gateway(answer_early)).create(HUGE)
    assert answer == OutcomeUnknown("connection lost while sending")


@pytest.mark.parametrize("status", ["201 Created", "204 No Content", "302 Found", "307 Temporary"])
@pytest.mark.parametrize("retry", ["", "Retry-After: 0\r\n"])
def test_other_good_status_is_unknown_and_no_redirect_is_followed(
    gateway: MakeGateway, client_for: MakeClient, status: str, retry: str
) -> None:
    """Only 200 is the documented answer."""
    server = gateway(b"")
    headers = f"Location: {server.url}/other\r\n{retry}"
    answer = http_answer(b"" if status < "205" else envelope(order_data()), status, headers)
    server.handler = lambda *_: answer
    assert client_for(server).create(ORDER) == OutcomeUnknown(f"http status {status[:3]}")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["400 Bad", "401 No", "404 None", "429 Slow", "500 Oh", "503 x"])
def test_error_status_is_unknown_and_never_asked_again(
    gateway: MakeGateway, client_for: MakeClient, status: str
) -> None:
    """Even with a positive body, and even when told to come again."""
    server = gateway(http_answer(envelope(order_data()), status, "Retry-After: 0\r\n"))
    assert client_for(server).create(ORDER) == OutcomeUnknown(f"http status {status[:3]}")
    assert len(server.requests) == 1


def test_body_of_a_redirect_is_not_read(gateway: MakeGateway, client_for: MakeClient) -> None:
    """It may never end."""

    def endless(server: Gateway, sock: socket.socket, _request: dict[str, Any]) -> None:
        sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 99999\r\n\r\n")
        server.stopped.wait(LONG)

    started = time.monotonic()
    assert client_for(gateway(endless)).create(ORDER) == OutcomeUnknown("http status 302")
    assert time.monotonic() - started < SOON


def test_answer_that_ends_within_its_headers_is_unknown(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """The HTTP library takes it for an answer without a body."""
    server = gateway(lambda _, sock, __: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Le"))
    assert client_for(server).create(ORDER) == OutcomeUnknown("answer is not JSON")
    assert len(server.requests) == 1


def test_html_is_unknown(gateway: MakeGateway, client_for: MakeClient) -> None:
    """A proxy's page with status 200."""
    server = gateway(
        http_answer(b"<html>maintenance</html>", headers="Content-Type: text/html\r\n")
    )
    assert client_for(server).create(ORDER) == OutcomeUnknown("answer is not JSON")
    assert len(server.requests) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_oversized_answer_is_unknown(
    gateway: MakeGateway, client_for: MakeClient, packed: bool
) -> None:
    """Reading stops behind the limit, also when a small body unpacks to a large one."""
    body = b" " * (20 * 1024 * 1024)
    answer = (
        http_answer(gzip.compress(body), headers="Content-Encoding: gzip\r\n")
        if packed
        else http_answer(body)
    )
    assert client_for(gateway(answer)).create(ORDER) == OutcomeUnknown("answer is too large")


def test_packed_answer_is_read(gateway: MakeGateway, client_for: MakeClient) -> None:
    """Some gateways pack though nobody asked them to."""
    body = gzip.compress(envelope(order_data()))
    server = gateway(http_answer(body, headers="Content-Encoding: gzip\r\n"))
    assert isinstance(client_for(server).create(ORDER), Report)


def test_hostile_cookie_and_continue_lines_do_no_harm(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Neither raises nor warns."""
    headers = 'Set-Cookie: a="b; Max-Age=x; Expires=\x01; Domain=[::\r\nContent-Type: ;;=\r\n'
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + http_answer(envelope(order_data()), headers=headers)
    assert isinstance(client_for(gateway(answer)).create(ORDER), Report)


def test_no_reason_tells_the_key_the_url_or_the_payee(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Reasons end in logs and on screens."""
    server = gateway(lambda _, sock, __: reset(sock))
    answers = [client_for(url).create(ORDER) for url in (server.url, "http://127.0.0.1:1/secret")]
    shown = repr(answers)
    for secret in (KEY, "secret", "127.0.0.1", ORDER.account_no):
        assert secret not in shown
