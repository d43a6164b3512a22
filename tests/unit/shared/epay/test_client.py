"""What the client sends, and the value that it makes of every answer or error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
import responses
from pydantic import SecretStr

from shared.domain.gateway import (
    Balance,
    CreateOrder,
    Limit,
    NeverSent,
    OutcomeUnknown,
    Refused,
    Report,
)
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.epay.signing import NestedForm, sign
from tests.support.scripted_gateway import KEY, envelope, order_data

BASE_URL = "https://gateway.example/capi/openapi"
ACCOUNT = "test2020@epay.com"
ORDER = CreateOrder(
    merchant_order_no="0702001122",
    amount="0.01",
    currency="USD",
    channel_code="11",
    account_no="41111810111111111111",
)
COMMON = {"epayAccount": ACCOUNT, "version": "V2.0.0"}
PATHS = {
    "create": "/payoutApi/createEwalletTransaction",
    "query": "/payoutApi/queryTransaction",
    "limit": "/payoutApi/getLimit",
    "balance": "/payoutApi/getBalance",
}
LOST = OutcomeUnknown("connection lost or answer garbled")


class Gateway:
    """EPAY in the place of the HTTP adapter; it gives one answer to every call."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self._mock = mock

    def answers(self, body: bytes | Exception, status: int = 200, **headers: str) -> None:
        """Let every call end like this."""
        for path in PATHS.values():
            self._mock.post(BASE_URL + path, body=body, status=status, headers=headers)

    @property
    def requests(self) -> list[requests.PreparedRequest]:
        """What was sent."""
        return [call.request for call in self._mock.calls]

    def params(self, path: str, nested: NestedForm = NestedForm.COMMA) -> list[dict[str, Any]]:
        """The `param` of each request; all must have gone to this path, rightly signed."""
        sent = []
        for request in self.requests:
            assert request.url == BASE_URL + path
            assert request.headers["Content-Type"] == "application/json"
            assert KEY not in f"{request.headers}{request.body!r}"
            envelope = json.loads(request.body or b"")
            assert set(envelope) == {"param", "sign"}
            assert envelope["sign"] == sign(envelope["param"], KEY, nested)
            sent.append(envelope["param"])
        return sent


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield Gateway(mock)


def make_client(**changes: Any) -> EpayClient:
    fields: dict[str, Any] = {
        "base_url": BASE_URL,
        "account": ACCOUNT,
        "api_key": SecretStr(KEY),
    }
    return EpayClient(EpayConfig(**(fields | changes)))


@pytest.fixture(scope="module")
def client() -> EpayClient:
    """A client loads the CA bundle: one does for the module."""
    return make_client()


CALLS: dict[str, Callable[[EpayClient], object]] = {
    "create": lambda client: client.create(ORDER),
    "query": lambda client: client.query("1"),
    "limit": lambda client: client.limit("USD", "BANK"),
    "balance": lambda client: client.balance(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def test_smallest_create_of_section_3_1(gateway: Gateway, client: EpayClient) -> None:
    """Nothing optional is sent unless it is set."""
    gateway.answers(envelope(order_data()))
    assert client.create(ORDER) == Report(
        source="create",
        epay_account=ACCOUNT,
        merchant_order_no="0702001122",
        epay_order_no="231151598560704599183360",
        status="1",
        amount=Decimal(10),
        currency="USD",
        fee=Decimal("2.1"),
    )
    assert gateway.params(PATHS["create"]) == [
        COMMON
        | {
            "category": "EWALLET",
            "merchantOrderNo": "0702001122",
            "currency": "USD",
            "channelCode": "11",
            "amount": "0.01",
            "receiverInfo": {"accountNo": "41111810111111111111"},
        }
    ]


def test_create_sends_what_is_set(gateway: Gateway) -> None:
    """Remark, extend fields, the callback's address and methods."""
    gateway.answers(envelope(order_data()))
    client = make_client(
        notify_url="https://shop.example.com/epay/callback",
        success_url_method="GET",
        fail_url_method="POST",
        nested=NestedForm.JSON,
    )
    client.create(
        CreateOrder("1", "1", "USD", "11", "P1", remark="ä", extend_fields={"b": "", "a": [1]})
    )
    [param] = gateway.params(PATHS["create"], NestedForm.JSON)
    assert param["notifyUrl"] == "https://shop.example.com/epay/callback"
    assert (param["successUrlMethod"], param["failUrlMethod"]) == ("GET", "POST")
    assert param["receiverInfo"] == {"accountNo": "P1", "remark": "ä"}
    assert param["extendFields"] == {"b": "", "a": [1]}


def test_query_of_section_3_2(gateway: Gateway, client: EpayClient) -> None:
    gateway.answers(envelope(order_data(status="7", currency="EUR", fee="0.5")))
    found = client.query("20210708220")
    assert isinstance(found, Report)
    assert (found.source, found.status) == ("query", "7")
    assert (found.currency, found.fee) == ("EUR", Decimal("0.5"))
    assert gateway.params(PATHS["query"]) == [COMMON | {"merchantOrderNo": "20210708220"}]


def test_limit_of_section_3_3(gateway: Gateway, client: EpayClient) -> None:
    """Optional parts only when given."""
    gateway.answers(envelope({"singleMin": "0", "singleMax": "10.5"}))
    assert client.limit("USD", "EWALLET", "11") == Limit(Decimal(0), Decimal("10.5"))
    client.limit("USD", "BANK", type_=None)
    assert gateway.params(PATHS["limit"]) == [
        COMMON | {"currency": "USD", "category": "EWALLET", "channelCode": "11", "type": "PAYMENT"},
        COMMON | {"currency": "USD", "category": "BANK"},
    ]


def test_balance_of_section_3_4(gateway: Gateway, client: EpayClient) -> None:
    """Of one currency or of all; the signature covers an array here."""
    gateway.answers(envelope([{"currency": "USD", "balance": "128453.11"}]))
    assert client.balance() == [Balance("USD", Decimal("128453.11"))]
    client.balance("USD")
    assert gateway.params(PATHS["balance"]) == [COMMON, COMMON | {"currency": "USD"}]


@every_call
def test_refusal(
    gateway: Gateway, client: EpayClient, call: Callable[[EpayClient], object]
) -> None:
    """A code other than 1, with null data."""
    body = {"code": 1005, "message": "no", "data": None, "sign": None}
    gateway.answers(json.dumps(body).encode())
    assert call(client) == Refused("1005", "no")


@every_call
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "answer is not JSON"),
        (b"<html>busy</html>", "answer is not JSON"),
        (b'{"code": 1', "answer is not JSON"),
        (b"[]", "answer is not an object"),
        (b"{}", "answer has no code"),
        (envelope(None), "answer has no data"),
        (envelope("text"), "answer has data of a wrong type"),
        (envelope(order_data(), "0" * 64), "answer bears a wrong signature"),
        (envelope(order_data(), "0" * 64, code=2005), "answer bears a wrong signature"),
        (b" " * (1024 * 1024 + 1), "answer is too large"),
    ],
)
def test_answer_that_proves_nothing(
    gateway: Gateway,
    client: EpayClient,
    call: Callable[[EpayClient], object],
    body: bytes,
    reason: str,
) -> None:
    gateway.answers(body)
    assert call(client) == OutcomeUnknown(reason)


@every_call
@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 404, 429, 500, 502, 503])
def test_status_other_than_200(
    gateway: Gateway, client: EpayClient, call: Callable[[EpayClient], object], status: int
) -> None:
    """Whatever the body says: EPAY may have the order. Only a question's refusal counts."""
    refusal = json.dumps({"code": 2005, "message": "no", "data": None}).encode()
    gateway.answers(b"" if status == 204 else refusal, status, Location="https://other.example/")
    answer = call(client)
    is_question = not gateway.requests[0].url.endswith("createEwalletTransaction")
    if is_question and status >= 400:
        assert answer == Refused("2005", "no")
    else:
        assert answer == OutcomeUnknown(f"http status {status}")
    assert len(gateway.requests) == 1


@every_call
@pytest.mark.parametrize(
    ("error", "found"),
    [
        (requests.ReadTimeout(), OutcomeUnknown("read timeout")),
        (requests.ConnectionError(), LOST),
        (requests.ConnectTimeout(), LOST),
        (requests.exceptions.ChunkedEncodingError(), LOST),
        (requests.exceptions.SSLError(), LOST),
        (ConnectionRefusedError(), LOST),
        (MemoryError(), LOST),
    ],
)
def test_error_of_requests(
    gateway: Gateway,
    client: EpayClient,
    call: Callable[[EpayClient], object],
    error: Exception,
    found: OutcomeUnknown,
) -> None:
    """No exception's type proves that nothing was sent: only our own connection does."""
    gateway.answers(error)
    assert call(client) == found
    assert len(gateway.requests) == 1


@every_call
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(), "connection refused"),
        (TimeoutError(), "connect timeout"),
        (OSError(), "connection failed"),
    ],
)
def test_connection_that_was_never_made(
    client: EpayClient,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[EpayClient], object],
    error: OSError,
    reason: str,
) -> None:
    """The proof of our own connection: nothing was sent."""
    found = [(0, 0, 0, "", ("192.0.2.1", 443))]

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr("socket.create_connection", fail)
    assert call(client) == NeverSent(reason)


def test_account_number_is_redacted_in_a_refusal(gateway: Gateway, client: EpayClient) -> None:
    """EPAY's message is logged; a very short account is left in it, as it matches everything."""
    gateway.answers(envelope(None, code=7, message="bad account 41111810111111111111 (1)"))
    assert client.create(ORDER) == Refused("7", "bad account *** (1)")
    short = CreateOrder("1", "1", "USD", "11", "1")
    assert client.create(short) == Refused("7", "bad account 41111810111111111111 (1)")


def test_unsigned_answer_counts_unless_a_signature_is_demanded(
    gateway: Gateway, client: EpayClient
) -> None:
    gateway.answers(envelope(order_data(), ""))
    assert isinstance(client.create(ORDER), Report)
    demanding = make_client(demand_response_signature=True)
    assert demanding.create(ORDER) == OutcomeUnknown("answer bears no signature")


def test_answer_signed_with_the_previous_key_counts(gateway: Gateway) -> None:
    """Requests are signed with the new one."""
    gateway.answers(envelope(order_data()))
    client = make_client(
        api_key=SecretStr("new"), previous_api_key=SecretStr(KEY), demand_response_signature=True
    )
    assert isinstance(client.create(ORDER), Report)
    sent = json.loads(gateway.requests[0].body or b"")
    assert sent["sign"] == sign(sent["param"], "new", NestedForm.COMMA)


@pytest.mark.parametrize(
    "order",
    [
        CreateOrder("1", "1", "USD", "11", "1", extend_fields={"a": float("nan")}),
        CreateOrder("1", "1", "USD", "11", "1", extend_fields={"a": object()}),
        CreateOrder("1", "1", "USD", "11", "1", remark="\ud800"),
    ],
)
def test_order_that_cannot_be_encoded_raises_and_sends_nothing(
    gateway: Gateway, client: EpayClient, order: CreateOrder
) -> None:
    """A mistake of the caller, not of the gateway."""
    gateway.answers(envelope(order_data()))
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        client.create(order)
    assert gateway.requests == []
