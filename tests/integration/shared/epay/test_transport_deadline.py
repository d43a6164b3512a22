"""Timeouts and the total deadline: a request ends in time, whatever the other side does."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.wait import wait_for
from shared.domain.gateway import NeverSent, OutcomeUnknown, Report
from shared.epay import transport
from shared.epay.transport import Exchange
from tests.support.scripted_gateway import (
    GOOD,
    HUGE,
    LONG,
    ORDER,
    SOON,
    Gateway,
    MakeClient,
    MakeGateway,
    allow,
    drip,
    envelope,
    order_data,
    silence,
)


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


def test_gateway_that_does_not_read_is_unknown(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Sending times out with part of the request gone."""
    server = gateway(lambda one, _, __: silence(one))
    client = client_for(server, connect_timeout=0.3)
    assert client.create(HUGE) == OutcomeUnknown("connection lost while sending")


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
