"""What the client sends, and what it makes of a gateway that behaves."""

from __future__ import annotations

import json
import os
import socket
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from devstack.wait import wait_for
from shared.domain.gateway import Balance, CreateOrder, Limit, OutcomeUnknown, Refused, Report
from shared.epay.client import EpayClient
from shared.epay.signing import NestedForm, sign
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


def test_create_sends_what_is_set(gateway: MakeGateway, client_for: MakeClient) -> None:
    """Remark, extend fields, the callback's address and methods."""
    server = gateway(GOOD)
    client = client_for(
        server,
        notify_url="https://shop.example.com/epay/callback",
        success_url_method="GET",
        fail_url_method="POST",
        nested=NestedForm.JSON,
    )
    client.create(
        CreateOrder("1", "1", "USD", "11", "P1", remark="ä", extend_fields={"b": "", "a": [1]})
    )
    param = server.requests[0]["param"]
    assert param["notifyUrl"] == "https://shop.example.com/epay/callback"
    assert (param["successUrlMethod"], param["failUrlMethod"]) == ("GET", "POST")
    assert param["receiverInfo"] == {"accountNo": "P1", "remark": "ä"}
    assert param["extendFields"] == {"b": "", "a": [1]}
    assert server.requests[0]["sign"] == sign(param, KEY, NestedForm.JSON)


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


def test_limit_sends_section_3_3(gateway: MakeGateway, client_for: MakeClient) -> None:
    """Optional parts only when given."""
    server = gateway(http_answer(envelope({"singleMin": "0", "singleMax": "10.5"})))
    client = client_for(server)
    assert client.limit("USD", "EWALLET", "11") == Limit(Decimal(0), Decimal("10.5"))
    client.limit("USD", "BANK", type_=None)
    first, second = (request["param"] for request in server.requests)
    assert (first["category"], first["type"], first["channelCode"]) == ("EWALLET", "PAYMENT", "11")
    assert set(second) == {"epayAccount", "version", "currency", "category"}
    assert "/payoutApi/getLimit" in server.heads[0]


def test_balance_sends_section_3_4(gateway: MakeGateway, client_for: MakeClient) -> None:
    """Of one currency or of all; the array's signature is checked as our rule has it."""
    server = gateway(http_answer(envelope([{"currency": "USD", "balance": "128453.11"}])))
    client = client_for(server)
    assert client.balance() == [Balance("USD", Decimal("128453.11"))]
    client.balance("USD")
    assert "currency" not in server.requests[0]["param"]
    assert server.requests[1]["param"]["currency"] == "USD"
    assert "/payoutApi/getBalance" in server.heads[0]


@pytest.mark.parametrize("call", ["query", "limit", "balance", "create"])
def test_refusal_is_a_value_for_every_call(
    gateway: MakeGateway, client_for: MakeClient, call: str
) -> None:
    """Code other than 1 with null data."""
    body = {"code": 1005, "message": "no", "data": None, "sign": None}
    client = client_for(gateway(http_answer(json.dumps(body).encode())))
    calls: dict[str, Callable[[], object]] = {
        "query": lambda: client.query("1"),
        "limit": lambda: client.limit("USD", "BANK"),
        "balance": client.balance,
        "create": lambda: client.create(ORDER),
    }
    assert calls[call]() == Refused("1005", "no")


def test_payees_account_is_blotted_out_of_a_refusal(
    gateway: MakeGateway, client_for: MakeClient
) -> None:
    """EPAY's words end in logs; a very short account is left, it hits everything."""
    body = envelope(None, code=7, message="bad account 41111810111111111111 (1)")
    client = client_for(gateway(http_answer(body)))
    assert client.create(ORDER) == Refused("7", "bad account *** (1)")
    short = CreateOrder("1", "1", "USD", "11", "1")
    assert client.create(short) == Refused("7", "bad account 41111810111111111111 (1)")


def test_wrong_and_demanded_signatures(gateway: MakeGateway, client_for: MakeClient) -> None:
    """Wrong is never believed; empty only when it may be; the previous key still counts."""
    wrong = gateway(http_answer(envelope(order_data(), "0" * 64)))
    assert client_for(wrong).create(ORDER) == OutcomeUnknown("answer bears a wrong signature")
    empty = gateway(http_answer(envelope(order_data(), "")))
    assert isinstance(client_for(empty).create(ORDER), Report)
    demanding = client_for(empty, demand_response_signature=True)
    assert demanding.create(ORDER) == OutcomeUnknown("answer bears no signature")
    changed = client_for(
        gateway(GOOD),
        api_key=SecretStr("new"),
        previous_api_key=SecretStr(KEY),
        demand_response_signature=True,
    )
    assert isinstance(changed.create(ORDER), Report)


@pytest.mark.parametrize(
    "order",
    [
        CreateOrder("1", "1", "USD", "11", "1", extend_fields={"a": float("nan")}),
        CreateOrder("1", "1", "USD", "11", "1", extend_fields={"a": object()}),
        CreateOrder("1", "1", "USD", "11", "1", remark="\ud800"),
    ],
)
def test_order_that_cannot_be_written_is_an_error_and_sends_nothing(
    gateway: MakeGateway, client_for: MakeClient, order: CreateOrder
) -> None:
    """A mistake of the caller, not of the gateway."""
    server = gateway(GOOD)
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        client_for(server).create(order)
    assert server.requests == []


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
