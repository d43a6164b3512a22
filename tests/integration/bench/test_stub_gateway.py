"""The benchmarks' stub gateway speaks EPAY's protocol."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest
from pydantic import SecretStr

from bench import payloads
from bench.stub_gateway import BASE_PATH, HOST, serve
from shared.domain.gateway import CreateOrder, OutcomeUnknown, Report
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig


@pytest.fixture
def stub() -> Iterator[int]:
    """The port of a stub gateway that answers queries with 7."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(serve(0, 0.0, "7"))
    port: int = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield port
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.close()


@pytest.fixture
def client(stub: int) -> Iterator[EpayClient]:
    """Our own client, which demands signatures, before it."""
    made = EpayClient(
        EpayConfig(
            base_url=f"http://{HOST}:{stub}{BASE_PATH}",
            account=payloads.ACCOUNT,
            api_key=SecretStr(payloads.API_KEY),
            demand_response_signature=True,
        )
    )
    yield made
    made.close()


def test_stub_answers_as_our_client_wants_it(client: EpayClient) -> None:
    """An answer that did not verify would be unknown, and something else would be measured."""
    created = client.create(CreateOrder(**payloads.request_kwargs("bench-1")))
    queried = client.query("bench-1")

    for answer, status in ((created, "1"), (queried, "7")):
        assert isinstance(answer, Report), answer
        assert answer.status == status
        assert answer.merchant_order_no == "bench-1"
        assert answer.amount == Decimal(payloads.AMOUNT)
        assert answer.currency == payloads.CURRENCY


def test_signed_otherwise_is_unknown(client: EpayClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above sees a wrong signature."""
    monkeypatch.setattr("bench.stub_gateway.API_KEY", "ANOTHER")

    assert isinstance(client.query("bench-1"), OutcomeUnknown)


def test_stub_counts_what_it_answered_even_in_pieces(stub: int) -> None:
    """Two requests, the second cut anywhere, on one connection; then the count."""
    body = payloads.signed_body(payloads.create_param("bench-2")).encode()
    head = f"POST {BASE_PATH}{payloads.CREATE} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = head.encode() + body
    with socket.create_connection((HOST, stub), timeout=60) as sock, sock.makefile("rb") as answers:
        sock.sendall(whole + whole[:50])
        first = _body(answers)
        sock.sendall(whole[50:])
        second = _body(answers)
        sock.sendall(b"GET /count HTTP/1.1\r\n\r\n")
        count = _body(answers)

    assert first == second
    assert json.loads(first)["data"]["merchantOrderNo"] == "bench-2"
    assert json.loads(count) == {"create": 2, "query": 0}


def _body(answers: object) -> bytes:
    length = 0
    while (line := answers.readline()) != b"\r\n":  # type: ignore[attr-defined]
        name, _, value = line.partition(b":")
        if name == b"Content-Length":
            length = int(value)
    return answers.read(length)  # type: ignore[attr-defined,no-any-return]
