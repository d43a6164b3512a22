"""Law 2: what fails before there is a connection was provably not sent."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.domain.gateway import NeverSent, Report
from shared.epay import transport
from tests.support.scripted_gateway import GOOD, LONG, ORDER, SOON, MakeClient, MakeGateway


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
