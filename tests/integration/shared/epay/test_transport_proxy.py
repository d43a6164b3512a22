"""EPAY_PROXY_URL: the proxy is really used, and what it refuses was never sent."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.domain.gateway import NeverSent, OutcomeUnknown, Report
from tests.support.scripted_gateway import GOOD, ORDER, Gateway, MakeClient, MakeGateway, reset

ELSEWHERE = "http://gateway.invalid/capi/openapi"
"""A host that does not exist: only a proxy can answer for it."""


class ConnectProxy:
    """A proxy for CONNECT on the loopback, which answers as it is told and relays after a 200."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"http://user:secret@127.0.0.1:{self._listener.getsockname()[1]}"

    def _start(self, target: Callable[..., None], *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            self.heads.append(head)
            client.sendall(self.answer)
            if b" 200 " in self.answer:
                host, port = head.split()[1].decode().split(":")
                with socket.create_connection((host, int(port))) as gateway:
                    self._sockets.append(gateway)
                    self._start(self._relay, gateway, client)
                    self._relay(client, gateway)
            elif not self.answer:
                while not self.stopped.wait(0.05):
                    client.sendall(b"x")

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.stopped.set()
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@pytest.fixture
def connect_proxy() -> Iterator[Callable[..., ConnectProxy]]:
    """Start proxies; stop them with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *args: stack.enter_context(contextlib.closing(ConnectProxy(*args)))


def by_way_of(server: Gateway) -> dict[str, object]:
    """The settings with which a scripted gateway serves as an http proxy."""
    url = f"http://user:secret@127.0.0.1:{server.port}"
    return {"proxy_url": url, "allow_plain_http": True}


def test_plain_http_goes_to_the_proxy(gateway: MakeGateway, client_for: MakeClient) -> None:
    """With the whole URL, and the proxy's password."""
    proxy = gateway(GOOD)
    client = client_for(ELSEWHERE, **by_way_of(proxy))
    for _ in range(2):
        assert isinstance(client.create(ORDER), Report)
    assert proxy.connections == 1
    assert proxy.heads[0].startswith(f"POST {ELSEWHERE}/payoutApi/createEwalletTransaction HTTP/")
    password = base64.b64encode(b"user:secret").decode()
    assert f"Proxy-Authorization: Basic {password}" in proxy.heads[0]


def test_request_that_a_plain_proxy_took_is_unknown(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """It may have passed it on before it broke off."""
    proxy = gateway(lambda _, sock, __: reset(sock))
    answer = client_for(ELSEWHERE, **by_way_of(proxy)).create(ORDER)
    assert answer == OutcomeUnknown("connection lost or answer garbled")
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("url", [ELSEWHERE, ELSEWHERE.replace("http:", "https:")])
def test_proxy_that_is_not_there_never_sent(client_for: MakeClient, url: str) -> None:
    """The connection to it is refused."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    proxy_url = f"http://127.0.0.1:{port}"
    client = client_for(url, proxy_url=proxy_url, allow_plain_http=True)
    assert client.create(ORDER) == NeverSent("connection refused")


def test_https_is_tunneled_and_the_tunnel_used_again(
    gateway: MakeGateway,
    client_for: MakeClient,
    connect_proxy: Callable[..., ConnectProxy],
    tls_context: ssl.SSLContext,
    certificate: Path,
) -> None:
    """The proxy reads the gateway's address and nothing of the request."""
    server, proxy = gateway(GOOD, tls_context), connect_proxy()
    client = client_for(server, proxy_url=proxy.url, ca_bundle=str(certificate))
    for _ in range(2):
        assert isinstance(client.create(ORDER), Report)
    assert [head.split()[:2] for head in proxy.heads] == [
        [b"CONNECT", f"127.0.0.1:{server.port}".encode()]
    ]
    assert b"Proxy-Authorization: Basic " in proxy.heads[0]
    assert "Proxy-Authorization" not in server.heads[0]
    assert len(server.requests) == 2


def test_answer_lost_in_the_tunnel_is_unknown(
    gateway: MakeGateway,
    client_for: MakeClient,
    connect_proxy: Callable[..., ConnectProxy],
    tls_context: ssl.SSLContext,
    certificate: Path,
) -> None:
    """The request had left by then."""
    server, proxy = gateway(lambda _, sock, __: reset(sock), tls_context), connect_proxy()
    client = client_for(server, proxy_url=proxy.url, ca_bundle=str(certificate))
    assert client.create(ORDER) == OutcomeUnknown("connection lost or answer garbled")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", b"?\r\n"],
    ids=["forbidden", "bad gateway", "not http"],
)
def test_tunnel_that_the_proxy_refuses_never_sent(
    client_for: MakeClient, connect_proxy: Callable[..., ConnectProxy], answer: bytes
) -> None:
    """CONNECT was sent, but that is not the request."""
    proxy = connect_proxy(answer)
    client = client_for(ELSEWHERE.replace("http:", "https:"), proxy_url=proxy.url)
    assert client.create(ORDER) == NeverSent("proxy or tls handshake failed")
    assert [head.split()[0] for head in proxy.heads] == [b"CONNECT"]


def test_certificate_is_checked_through_the_tunnel(
    gateway: MakeGateway,
    client_for: MakeClient,
    connect_proxy: Callable[..., ConnectProxy],
    tls_context: ssl.SSLContext,
) -> None:
    """A proxy cannot stand in for the gateway."""
    server, proxy = gateway(GOOD, tls_context), connect_proxy()
    client = client_for(server, proxy_url=proxy.url)
    assert client.create(ORDER) == NeverSent("proxy or tls handshake failed")
    assert server.requests == []


def test_dripping_answer_to_connect_never_sent_and_ends_in_time(
    client_for: MakeClient, connect_proxy: Callable[..., ConnectProxy]
) -> None:
    """The total deadline holds for the tunnel too."""
    proxy = connect_proxy(b"")
    url = ELSEWHERE.replace("http:", "https:")
    started = time.monotonic()
    client = client_for(url, proxy_url=proxy.url, total_timeout=0.5)
    assert client.create(ORDER) == NeverSent("total timeout")
    assert time.monotonic() - started < 1.5
