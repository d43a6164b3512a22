"""Law 2: what was provably not sent, and what may have been."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.wait import wait_for
from shared.domain.gateway import CreateOrder, NeverSent, OutcomeUnknown, Report
from shared.epay import transport
from shared.epay.client import EpayClient
from shared.epay.transport import Exchange, GatewayConnection
from tests.support.scripted_gateway import (
    KEY,
    Gateway,
    envelope,
    http_answer,
    order_data,
    reset,
)

MakeGateway = Callable[..., Gateway]
MakeClient = Callable[..., EpayClient]

ORDER = CreateOrder("0702001122", "0.01", "USD", "11", "41111810111111111111")
HUGE = CreateOrder("1", "1", "USD", "11", "1", extend_fields={"a": "x" * 16_000_000})
GOOD = http_answer(envelope(order_data()))
LONG = 120.0
"""Seconds that the other side would take."""
SOON = LONG / 4
"""Seconds: what ends sooner did not wait for the other side, however busy the machine."""


def resolve_localhost(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Have the resolver know these addresses of localhost."""
    resolve = socket.getaddrinfo

    def resolved(host: str, *args: Any, **kwargs: Any) -> Any:
        if host != "localhost":
            return resolve(host, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


def test_refused_connection_never_sent(client_for: MakeClient) -> None:
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert client_for(f"http://127.0.0.1:{port}").create(ORDER) == NeverSent("connection refused")


def test_unknown_name_never_sent(client_for: MakeClient) -> None:
    """A host below .invalid does not exist, by its definition."""
    client = client_for(
        "https://gateway.invalid/capi/openapi", connect_timeout=60, total_timeout=90
    )
    assert client.create(ORDER) == NeverSent("name lookup failed")


def test_hanging_name_lookup_never_sent_and_ends_in_time(
    client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's resolver knows no deadline."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(LONG) and [])
    started = time.monotonic()
    answer = client_for("http://localhost:1", connect_timeout=0.2).create(ORDER)
    over.set()
    assert answer == NeverSent("name lookup failed")
    assert time.monotonic() - started < SOON


def test_name_that_cannot_be_encoded_never_sent(
    client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver raises UnicodeError for some names."""

    def fail(*_: object, **__: object) -> None:
        "\ud800".encode()

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert client_for("http://localhost:1").create(ORDER) == NeverSent("name lookup failed")


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """The port of a listener that accepts no further connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


def test_connect_timeout_never_sent(client_for: MakeClient) -> None:
    """A listener whose queue is full answers nothing at all."""
    with full_listener() as port:
        started = time.monotonic()
        client = client_for(f"http://127.0.0.1:{port}", connect_timeout=0.3)
        assert client.create(ORDER) == NeverSent("connect timeout")
        assert time.monotonic() - started < SOON


def test_total_deadline_ends_a_connect_too(client_for: MakeClient) -> None:
    """A total below the connect timeout counts."""
    with full_listener() as port:
        client = client_for(f"http://127.0.0.1:{port}", connect_timeout=5, total_timeout=0.2)
        assert client.create(ORDER) == NeverSent("total timeout")


def test_unreachable_address_never_sent(
    client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other failure of connect()."""
    resolve_localhost(monkeypatch, ("255.255.255.255", 1))
    assert client_for("http://localhost:1").create(ORDER) == NeverSent("connection failed")


def test_name_without_addresses_never_sent(
    client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing to connect to."""
    resolve_localhost(monkeypatch)
    assert isinstance(client_for("http://localhost:1").create(ORDER), NeverSent)


def test_time_used_up_by_the_lookup_is_not_used_again_for_connecting(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connect timeout is for both together."""
    server = gateway(GOOD)
    found = [("127.0.0.1", server.port)]
    monkeypatch.setattr(transport, "_look_up", lambda *_: time.sleep(0.25) or found)
    assert client_for(server, connect_timeout=0.2).create(ORDER) == NeverSent("connect timeout")
    assert server.requests == []


def test_second_address_is_tried_when_the_first_is_dead(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any client does; still one request."""
    server = gateway(GOOD)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    resolve_localhost(monkeypatch, ("127.0.0.1", port), ("127.0.0.1", server.port))
    assert isinstance(client_for(f"http://localhost:{port}").create(ORDER), Report)
    assert len(server.requests) == 1


def test_address_that_does_not_answer_leaves_time_for_the_second(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connect timeout is divided between them."""
    server = gateway(GOOD)
    with full_listener() as port:
        resolve_localhost(monkeypatch, ("127.0.0.1", port), ("127.0.0.1", server.port))
        client = client_for(f"http://localhost:{port}", connect_timeout=0.6)
        assert isinstance(client.create(ORDER), Report)


def test_tls_with_a_plain_server_never_sent(gateway: MakeGateway, client_for: MakeClient) -> None:
    """The handshake fails before any byte of the request."""
    server = gateway(GOOD)
    url = server.url.replace("http:", "https:")
    assert isinstance(client_for(url, connect_timeout=0.3).create(ORDER), NeverSent)
    assert server.requests == []


def silence(server: Gateway) -> None:
    """Say nothing for longer than the client waits."""
    server.stopped.wait(LONG)


def raw_server(gateway: MakeGateway, behave: Callable[[Gateway, socket.socket], None]) -> Gateway:
    """A gateway that behaves before it has read anything."""
    server = gateway(b"")
    server._receive = lambda sock: behave(server, sock)  # type: ignore[method-assign,assignment,return-value]
    return server


def test_garbage_for_a_tls_handshake_never_sent(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Something else listens there."""
    server = raw_server(gateway, lambda _, sock: sock.sendall(b"220 smtp ready\r\n"))
    url = server.url.replace("http:", "https:")
    assert client_for(url).create(ORDER) == NeverSent("tls handshake failed")


def test_dripping_tls_handshake_never_sent_and_ends_in_time(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Each byte would start the socket's own timeout anew."""

    def drip_handshake(server: Gateway, sock: socket.socket) -> None:
        sock.sendall(b"\x16\x03\x03\x3f\x00")
        drip(server, sock)

    server = raw_server(gateway, drip_handshake)
    url = server.url.replace("http:", "https:")
    started = time.monotonic()
    assert client_for(url, total_timeout=0.5).create(ORDER) == NeverSent("total timeout")
    assert time.monotonic() - started < SOON


def test_certificate_of_an_unknown_authority_never_sent(
    gateway: MakeGateway, client_for: MakeClient, tls_context: ssl.SSLContext
) -> None:
    """Nothing is told to a gateway that cannot prove itself."""
    server = gateway(GOOD, tls_context)
    assert client_for(server).create(ORDER) == NeverSent("tls handshake failed")
    assert server.requests == []


def test_certificate_of_another_host_never_sent(
    gateway: MakeGateway, client_for: MakeClient, tls_context: ssl.SSLContext, certificate: Path
) -> None:
    """The authority is right, the name is not."""
    server = gateway(GOOD, tls_context)
    client = client_for(server.url.replace("127.0.0.1", "localhost"), ca_bundle=str(certificate))
    assert client.create(ORDER) == NeverSent("tls handshake failed")
    assert server.requests == []


def test_tls_works_and_its_connection_is_used_again(
    gateway: MakeGateway, client_for: MakeClient, tls_context: ssl.SSLContext, certificate: Path
) -> None:
    """With a trusted certificate."""
    server = gateway(GOOD, tls_context)
    client = client_for(server, ca_bundle=str(certificate))
    for _ in range(3):
        assert isinstance(client.create(ORDER), Report)
    assert server.connections == 1


def test_dripping_tls_answer_is_unknown_and_ends_in_time(
    gateway: MakeGateway, client_for: MakeClient, tls_context: ssl.SSLContext, certificate: Path
) -> None:
    """The deadline holds under TLS as well, on a connection that is new or used before."""
    server = gateway(GOOD, tls_context)
    client = client_for(server, ca_bundle=str(certificate))
    assert isinstance(client.create(ORDER), Report)
    allow(client, 1.0)
    server.handler = lambda one, sock, _: sock.sendall(b"HTTP/1.1 200 OK\r\n") or drip(one, sock)
    for _ in range(2):
        started = time.monotonic()
        assert client.create(ORDER) == OutcomeUnknown("total timeout")
        assert time.monotonic() - started < SOON
    wait_for(lambda: len(server.requests) == 3, 60, "the third request")


def allow(client: EpayClient, seconds: float) -> None:
    """Another total timeout from the next request on."""
    transport = client._transport
    transport._config = replace(transport._config, total_timeout=seconds)


def drip(server: Gateway, sock: socket.socket) -> None:
    """One byte at a time, for as long as somebody listens."""
    while not server.stopped.wait(0.05):
        sock.sendall(b"x")


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n",
    ],
    ids=["status line", "header", "body", "body without length", "chunk"],
)
def test_dripping_answer_is_unknown_and_ends_in_time(
    gateway: MakeGateway, client_for: MakeClient, start: bytes
) -> None:
    """The total deadline holds, though no single read ever times out."""
    server = gateway(lambda one, sock, _: sock.sendall(start) or drip(one, sock))
    started = time.monotonic()
    client = client_for(server, total_timeout=1.0)
    assert client.create(ORDER) == OutcomeUnknown("total timeout")
    assert time.monotonic() - started < SOON
    wait_for(lambda: len(server.requests) == 1, 60, "the request")


def test_answer_that_ends_with_the_cut_is_not_believed(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Without a length a shut socket looks like the end of a whole answer."""

    def hold_open(server: Gateway, sock: socket.socket, _request: dict[str, Any]) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + envelope(order_data()))
        server.stopped.wait(LONG)

    client = client_for(gateway(hold_open), total_timeout=1.0)
    assert client.create(ORDER) == OutcomeUnknown("total timeout")


def test_silence_is_a_read_timeout(gateway: MakeGateway, client_for: MakeClient) -> None:
    """Before the answer and in the middle of it."""
    for start in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"):
        server = gateway(lambda one, sock, _, s=start: sock.sendall(s) or silence(one))
        client = client_for(server, read_timeout=0.2)
        assert client.create(ORDER) == OutcomeUnknown("read timeout")
        wait_for(lambda one=server: len(one.requests) == 1, 60, "the request")


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


@pytest.mark.parametrize("behave", [reset, lambda _: None], ids=["reset", "end"])
def test_pooled_connection_that_dies_under_the_request_is_unknown(
    gateway: MakeGateway, client_for: MakeClient, behave: Callable[[socket.socket], None]
) -> None:
    """Bytes were sent on it, so it is not tried again on another."""
    server = gateway(GOOD)
    client = client_for(server)
    assert isinstance(client.create(ORDER), Report)
    server.handler = lambda _, sock, __: behave(sock)
    assert isinstance(client.create(ORDER), OutcomeUnknown)
    assert len(server.requests) == 2
    assert server.connections == 1


def test_request_that_is_cut_off_is_unknown(gateway: MakeGateway, client_for: MakeClient) -> None:
    """Half a request may be enough for a gateway."""
    server = gateway(lambda _, sock, __: reset(sock))
    assert client_for(server).create(HUGE) == OutcomeUnknown("connection lost while sending")
    assert len(server.heads) == 1


def test_answer_to_half_a_request_is_not_believed(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """An answer that comes while the request cannot be finished proves nothing."""

    def answer_early(_gateway: Gateway, sock: socket.socket, _request: dict[str, Any]) -> None:
        sock.sendall(GOOD)
        sock.shutdown(socket.SHUT_RD)

    answer = client_for(gateway(answer_early)).create(HUGE)
    assert answer == OutcomeUnknown("connection lost while sending")


def test_gateway_that_does_not_read_is_unknown(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Sending times out with part of the request gone."""
    server = gateway(lambda one, _, __: silence(one))
    client = client_for(server, connect_timeout=0.3)
    assert client.create(HUGE) == OutcomeUnknown("connection lost while sending")


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


def test_process_that_overslept_sends_nothing(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that starts after the total deadline could come after the caller's lease."""
    server = gateway(GOOD)
    client = client_for(server)
    send = requests.Session.send

    def late(self: requests.Session, *args: Any, **kwargs: Any) -> Any:
        time.sleep(0.3)
        return send(self, *args, **kwargs)

    monkeypatch.setattr(requests.Session, "send", late)
    allow(client, 0.2)
    assert client.create(ORDER) == NeverSent("total timeout")
    monkeypatch.undo()
    allow(client, LONG)
    assert isinstance(client.create(ORDER), Report)
    monkeypatch.setattr(requests.Session, "send", late)
    allow(client, 0.2)
    assert client.create(ORDER) == NeverSent("total timeout")
    assert len(server.requests) == 1


def test_deadline_that_passes_just_before_the_first_byte_sends_nothing(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is looked at last."""
    server = gateway(GOOD)
    limit = Exchange.limit

    def slow(self: Exchange, *args: Any) -> None:
        limit(self, *args)
        self._deadline = 0

    monkeypatch.setattr(Exchange, "limit", slow)
    assert client_for(server).create(ORDER) == NeverSent("total timeout")
    assert server.requests == []


def test_deadline_that_passes_with_the_connect_closes_the_socket(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connected, but too late: nothing is sent and nothing leaks."""
    server = gateway(GOOD)
    connect = socket.create_connection

    def slow(*args: Any) -> Any:
        sock = connect(*args)
        time.sleep(0.3)
        return sock

    monkeypatch.setattr(socket, "create_connection", slow)
    assert client_for(server, total_timeout=0.2).create(ORDER) == NeverSent("total timeout")
    assert server.requests == []


def test_connection_that_vanishes_in_the_middle_is_not_opened_again(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """http.client would send the rest of a request on a new connection."""
    server = gateway(lambda *_: None)
    send = GatewayConnection.send

    def vanish(self: GatewayConnection, data: Any) -> None:
        send(self, data)
        if self._pieces is None:  # it was not only written down
            self.sock.close()
            self.sock = None
            send(self, b"the rest")

    monkeypatch.setattr(GatewayConnection, "send", vanish)
    assert client_for(server).create(ORDER) == OutcomeUnknown("connection lost while sending")
    wait_for(lambda: bool(server.connections), 60, "the gateway, a moment behind")
    assert server.connections == 1


def test_request_is_one_write(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head and body leave together: there is no half of a request to be lost."""
    writes: list[bytes] = []
    sendall = socket.socket.sendall

    def noted(self: socket.socket, data: bytes, *args: Any) -> None:
        if data.startswith(b"POST "):
            writes.append(data)
        sendall(self, data, *args)

    server = gateway(GOOD)
    client = client_for(server)
    monkeypatch.setattr(socket.socket, "sendall", noted, raising=False)
    for _ in range(2):
        assert isinstance(client.create(ORDER), Report)
    assert server.connections == 1
    assert len(writes) == 2
    assert all(b"\r\n\r\n{" in write and write.endswith(b"}") for write in writes)


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_gateway_that_reads_in_drips_is_unknown_and_ends_in_time(
    gateway: MakeGateway,
    client_for: MakeClient,
    tls_context: ssl.SSLContext,
    certificate: Path,
    with_tls: bool,
) -> None:
    """Sending obeys the total deadline too: no single write ever times out."""

    def read_slowly(server: Gateway, sock: socket.socket, _request: dict[str, Any]) -> None:
        while not server.stopped.wait(0.05):
            sock.recv(32_768)

    server = gateway(read_slowly, tls_context if with_tls else None)
    started = time.monotonic()
    client = client_for(server, ca_bundle=str(certificate), total_timeout=1.0)
    assert client.create(HUGE) == OutcomeUnknown("total timeout")
    assert time.monotonic() - started < SOON


def test_suspended_machine_counts_for_the_deadline(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock jumps in the middle of a request, as it does when the machine wakes up."""
    slept = 0.0
    read_clock = time.clock_gettime

    def clock(which: int) -> float:
        return read_clock(which) + (slept if which == transport._CLOCK else 0)

    def suspend(server: Gateway, _sock: socket.socket, _request: dict[str, Any]) -> None:
        nonlocal slept
        slept = 3600
        server.stopped.wait(LONG)

    monkeypatch.setattr(time, "clock_gettime", clock)
    started = time.monotonic()
    client = client_for(gateway(suspend), read_timeout=LONG, total_timeout=LONG)
    assert client.create(ORDER) == OutcomeUnknown("total timeout")
    assert time.monotonic() - started < SOON


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system has no such clock")
def test_deadline_is_by_the_clock_that_counts_a_suspension() -> None:
    """Python's monotonic clock stops meanwhile."""
    assert transport._CLOCK == time.CLOCK_BOOTTIME


def test_connections_leave_no_descriptor_behind(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """None stays open beyond its connection."""
    one_each = http_answer(envelope(order_data()), headers="Connection: close\r\n")
    server = gateway(lambda *_: one_each)
    client = client_for(server)
    assert isinstance(client.create(ORDER), Report)
    wait_for(lambda: len(server.requests) == 1, 60, "the first request")
    before = open_descriptors()
    for _ in range(20):
        assert isinstance(client.create(ORDER), Report)
    assert server.connections == 21
    # the gateway's own ends are in this process too, and are closed a moment later
    wait_for(lambda: open_descriptors() <= before, 60, "the last descriptors to be closed")


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_interrupt_goes_through_and_leaves_nothing_behind(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no Exception is the process's own business."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    client = client_for(gateway(GOOD))
    monkeypatch.setattr(requests.Session, "send", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.create(ORDER)


def test_no_reason_tells_the_key_the_url_or_the_payee(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Reasons end in logs and on screens."""
    server = gateway(lambda _, sock, __: reset(sock))
    answers = [client_for(url).create(ORDER) for url in (server.url, "http://127.0.0.1:1/secret")]
    shown = repr(answers)
    for secret in (KEY, "secret", "127.0.0.1", ORDER.account_no):
        assert secret not in shown


def test_missing_ca_bundle_is_an_error_at_the_start(client_for: MakeClient) -> None:
    """Not at the first payout."""
    with pytest.raises(OSError, match="No such file"):
        client_for("https://127.0.0.1", ca_bundle="/nowhere.pem")
    with pytest.raises(OSError, match="No such file"):
        client_for("HTTPS://127.0.0.1", ca_bundle="/nowhere.pem")
