"""Connections that a network has forgotten, and creates that come too late to be sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Report
from shared.epay import transport
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from tests.support.forgetful_nat import Nat, nat_before
from tests.support.scripted_gateway import (
    GOOD,
    ORDER,
    Gateway,
    MakeClient,
    MakeGateway,
    http_answer,
)

PARALLEL = 8


@pytest.fixture
def server(gateway: MakeGateway) -> Gateway:
    """A gateway that takes every order."""
    return gateway(GOOD)


@pytest.fixture
def nat(server: Gateway) -> Iterator[Nat]:
    """The way to it."""
    with nat_before(server.port) as between:
        yield between


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the transport's clock forward by seconds."""
    passed = [0.0]
    read_clock = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: read_clock(which) + passed[0])

    def forward(seconds: float) -> None:
        passed[0] += seconds

    return forward


def at_once(client: EpayClient, server: Gateway) -> list[OrderAnswer]:
    """The answers to creates that are under way at the same time, each on its own connection."""
    together = threading.Barrier(PARALLEL)

    def wait_for_all(*_: object) -> bytes:
        together.wait(60)
        return GOOD

    server.handler = wait_for_all
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(client.create, [ORDER] * PARALLEL))


def test_creates_after_a_quiet_time_meet_no_forgotten_connection(
    server: Gateway, nat: Nat, client_for: MakeClient, pass_time: Callable[[float], None]
) -> None:
    """None of eight becomes unknown: each opens a connection anew."""
    client = client_for(nat.url, read_timeout=5.0)
    assert all(isinstance(answer, Report) for answer in at_once(client, server))
    assert nat.connections == PARALLEL
    nat.forget()
    pass_time(30)
    assert all(isinstance(answer, Report) for answer in at_once(client, server))
    assert (nat.connections, nat.swallowed) == (2 * PARALLEL, 0)


def test_a_loss_empties_the_pool(server: Gateway, nat: Nat, client_for: MakeClient) -> None:
    """What was idle while one connection was dead is not used: one create is lost, not eight."""
    client = client_for(nat.url, read_timeout=0.5)
    at_once(client, server)
    server.handler = lambda *_: GOOD
    nat.forget()
    assert client.create(ORDER) == OutcomeUnknown("read timeout")
    for _ in range(PARALLEL):
        assert isinstance(client.create(ORDER), Report)
    assert nat.connections == PARALLEL + 1


def test_an_answer_is_no_loss(server: Gateway, client_for: MakeClient) -> None:
    """The other connections are used again; its own is closed, for it was not read."""
    client = client_for(server)
    at_once(client, server)
    server.handler = lambda *_: http_answer(b"{}", "503 Busy")
    assert client.create(ORDER) == OutcomeUnknown("http status 503")
    at_once(client, server)
    assert server.connections == PARALLEL + 1


def test_a_connection_in_use_is_kept(
    server: Gateway, client_for: MakeClient, pass_time: Callable[[float], None]
) -> None:
    """Idle counts from the last byte that came."""
    client = client_for(server)
    for _ in range(5):
        assert isinstance(client.create(ORDER), Report)
        pass_time(EpayConfig.idle_seconds - 5)
    assert server.connections == 1
    pass_time(6)
    assert isinstance(client.create(ORDER), Report)
    assert server.connections == 2


def test_the_idle_age_is_well_under_a_minute() -> None:
    """Routers at homes and offices forget after a minute, some after thirty seconds."""
    assert EpayConfig.idle_seconds <= 15


def test_a_new_connection_is_taken_when_asked_for(server: Gateway, client_for: MakeClient) -> None:
    """As the circuit breaker's probe does: it must not judge EPAY by an old connection."""
    client = client_for(server)
    for new, connections in ((False, 1), (False, 1), (True, 2), (False, 2)):
        assert isinstance(client.create(ORDER, new_connection=new), Report)
        assert server.connections == connections


@pytest.mark.parametrize("used", [False, True], ids=["new connection", "pooled connection"])
def test_a_create_that_is_late_is_not_sent(
    server: Gateway, client_for: MakeClient, used: bool
) -> None:
    """It is asked last, right before the first byte, on either kind of connection."""
    client = client_for(server)
    if used:
        client.create(ORDER)
    asked: list[int] = []

    def is_late() -> bool:
        asked.append(server.connections)
        return True

    before = len(server.requests)
    assert client.create(ORDER, is_late=is_late) == NeverSent(transport.TOO_LATE)
    assert len(asked) == 1
    assert len(server.requests) == before
    assert isinstance(client.create(ORDER, is_late=lambda: False), Report)
