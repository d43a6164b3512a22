"""What the client sends over a real connection, and how it shares connections."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from devstack.wait import wait_for
from shared.domain.gateway import CreateOrder, OutcomeUnknown, Refused, Report
from shared.epay.client import EpayClient
from shared.epay.signing import NestedForm, sign
from shared.epay.transport import MAX_BODY
from tests.support.scripted_gateway import KEY, Gateway, envelope, http_answer, order_data

MakeGateway = Callable[..., Gateway]
MakeClient = Callable[..., EpayClient]

ORDER = CreateOrder(
    merchant_order_no="0702001122",
    amount="0.01",
    currency="USD",
    channel_code="11",
    account_no="41111810111111111111",
)
GOOD = http_answer(envelope(order_data()))


def echo(_gateway: Gateway, _sock: socket.socket, request: dict[str, Any]) -> bytes:
    """Answer with the order number that was asked for."""
    number = request["param"]["merchantOrderNo"]
    return http_answer(envelope(order_data(merchantOrderNo=number)))


def test_create_sends_the_smallest_request_of_section_3_1(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Nothing optional is sent unless it is set, and the signature is right."""
    server = gateway(GOOD)
    report = client_for(server).create(ORDER)
    assert isinstance(report, Report)
    assert (report.source, report.status, report.fee) == ("create", "1", Decimal("2.1"))
    param = {
        "epayAccount": "test2020@epay.com",
        "version": "V2.0.0",
        "category": "EWALLET",
        "merchantOrderNo": "0702001122",
        "currency": "USD",
        "channelCode": "11",
        "amount": "0.01",
        "receiverInfo": {"accountNo": "41111810111111111111"},
    }
    assert server.requests == [{"param": param, "sign": sign(param, KEY, NestedForm.COMMA)}]
    head = server.heads[0]
    assert head.startswith("POST /capi/openapi/payoutApi/createEwalletTransaction HTTP/1.1\r\n")
    assert "Content-Type: application/json" in head
    assert KEY not in head
    assert "Cookie" not in head


def test_query_sends_section_3_2(gateway: MakeGateway, client_for: MakeClient) -> None:
    """Account, version and order number, nothing else."""
    server = gateway(echo)
    report = client_for(server).query("20210708220")
    assert isinstance(report, Report)
    assert (report.source, report.merchant_order_no) == ("query", "20210708220")
    assert server.requests[0]["param"] == {
        "epayAccount": "test2020@epay.com",
        "version": "V2.0.0",
        "merchantOrderNo": "20210708220",
    }
    assert "/payoutApi/queryTransaction" in server.heads[0]


@pytest.mark.parametrize("status", ["400 Bad", "404 None", "429 Slow", "500 Oh"])
def test_refusal_of_a_query_is_read_whatever_the_http_status(
    gateway: MakeGateway, client_for: MakeClient, status: str
) -> None:
    """Of a create it is not: there, only a documented answer may end a payout."""
    refusal = b'{"code": 2001, "message": "no such order"}'
    client = client_for(gateway(http_answer(refusal, status)))
    assert client.query("1") == Refused("2001", "no such order")
    assert client.balance("USD") == Refused("2001", "no such order")
    assert client.create(ORDER) == OutcomeUnknown(f"http status {status[:3]}")


@pytest.mark.parametrize(
    "body",
    [
        envelope(order_data()),
        b"<html>gateway timeout</html>",
        b'{"error": "gone"}',
        envelope(order_data(), signature="0" * 64, code=2001),
        b'{"code": 2001, "message": "' + b"x" * MAX_BODY + b'"}',
    ],
    ids=["a report", "no JSON", "no code", "a wrong signature", "too large"],
)
def test_nothing_but_a_refusal_is_read_of_another_http_status(
    gateway: MakeGateway, client_for: MakeClient, body: bytes
) -> None:
    client = client_for(gateway(http_answer(body, "500 Oh")))
    assert client.query("1") == OutcomeUnknown("http status 500")


@pytest.mark.parametrize("chunked", [False, True])
def test_connection_is_used_again(
    gateway: MakeGateway, client_for: MakeClient, chunked: bool
) -> None:
    """However the length of the answer is told."""
    body = envelope(order_data())
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n5\r\n    \n\r\n0\r\n\r\n" % (len(body), body)
        if chunked
        else http_answer(body, headers="Set-Cookie: a=b\r\n")
    )
    server = gateway(answer)
    client = client_for(server)
    for _ in range(5):
        assert isinstance(client.query("1"), Report)
    assert server.connections == 1
    assert "Cookie" not in server.heads[-1]


def test_connection_that_ended_while_idle_is_replaced_before_anything_is_sent(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Seen dead in time, it costs nothing."""

    def once(_gateway: Gateway, sock: socket.socket, _request: dict[str, Any]) -> None:
        sock.sendall(GOOD)

    server = gateway(once)
    client = client_for(server)
    for _ in range(3):
        assert isinstance(client.query("1"), Report)
        wait_for(lambda: all(one.fileno() < 0 for one in server._sockets), 60, "the end")
    assert server.connections == 3
    assert len(server.requests) == 3


def test_32_threads_share_the_client_and_each_gets_its_own_answer(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """No answer is mixed up, no request is lost or doubled, connections are pooled."""
    server = gateway(echo)
    client = client_for(server)
    numbers = [str(number) for number in range(640)]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(client.query, numbers))
    assert [a.merchant_order_no for a in answers if isinstance(a, Report)] == numbers
    assert sorted(r["param"]["merchantOrderNo"] for r in server.requests) == sorted(numbers)
    assert server.connections <= 32


def test_client_works_after_close(gateway: MakeGateway, client_for: MakeClient) -> None:
    """Closing ends the idle connections, not the client."""
    server = gateway(GOOD)
    client = client_for(server)
    for expected in (1, 2):
        assert isinstance(client.query("1"), Report)
        client.close()
        assert server.connections == expected


def test_forked_process_opens_its_own_connections(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """Two processes on one connection would read each other's answers."""
    server = gateway(echo)
    client = client_for(server)
    assert isinstance(client.query("1"), Report)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork among threads
        pid = os.fork()
    if pid == 0:
        answer = client.query("2")
        os._exit(0 if isinstance(answer, Report) and answer.merchant_order_no == "2" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert isinstance(client.query("3"), Report)
    assert server.connections == 2


def test_session_is_made_anew_after_a_fork_and_the_old_one_left_alone(
    gateway: MakeGateway, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same within one process, so that each step can be seen."""
    server = gateway(GOOD)
    client = client_for(server)
    assert isinstance(client.query("1"), Report)
    parent, old = os.getpid(), client._transport.session
    monkeypatch.setattr(os, "getpid", lambda: -1)
    client.close()
    assert client._transport._sessions == {parent: old}
    with ThreadPoolExecutor(4) as pool:
        assert all(isinstance(a, Report) for a in pool.map(client.query, "1234"))
    assert client._transport.session is not old
    assert client._transport._sessions == {parent: old, -1: client._transport.session}
    client.close()
    old.close()
