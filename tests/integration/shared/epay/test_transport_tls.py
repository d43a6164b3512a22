"""Law 2 under TLS: nothing is told to a gateway that cannot prove itself."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.wait import wait_for
from shared.domain.gateway import NeverSent, OutcomeUnknown, Report
from tests.support.scripted_gateway import (
    GOOD,
    ORDER,
    SOON,
    Gateway,
    MakeClient,
    MakeGateway,
    allow,
    drip,
)


def test_tls_with_a_plain_server_never_sent(gateway: MakeGateway, client_for: MakeClient) -> None:
    """The handshake fails before any byte of the request."""
    server = gateway(GOOD)
    url = server.url.replace("http:", "https:")
    assert isinstance(client_for(url, connect_timeout=0.3).create(ORDER), NeverSent)
    assert server.requests == []


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


def test_missing_ca_bundle_is_an_error_at_the_start(client_for: MakeClient) -> None:
    """Not at the first payout."""
    with pytest.raises(OSError, match="No such file"):
        client_for("https://127.0.0.1", ca_bundle="/nowhere.pem")
    with pytest.raises(OSError, match="No such file"):
        client_for("HTTPS://127.0.0.1", ca_bundle="/nowhere.pem")
