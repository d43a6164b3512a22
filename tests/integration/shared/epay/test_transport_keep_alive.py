"""Connections: a request goes out once, on one, and nothing of it stays open."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.wait import wait_for
from shared.domain.gateway import OutcomeUnknown, Report
from shared.epay.transport import GatewayConnection
from tests.support.scripted_gateway import (
    GOOD,
    HUGE,
    ORDER,
    MakeClient,
    MakeGateway,
    envelope,
    http_answer,
    order_data,
    reset,
)


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
