"""The four calls: envelopes, checks, codes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.epay.signing import NestedForm, sign
from tests.support.sandbox import Merchant, until


def test_create_answers_with_documented_fields(merchant: Merchant) -> None:
    """A create is answered with the envelope and data of sections 2 and 3.1, signed over data."""
    param = merchant.param("A1", extendFields={"shop": "7"})
    answer = merchant.call("createEwalletTransaction", param).json()
    assert set(answer) == {"sign", "epayAccount", "version", "code", "message", "data"}
    assert (answer["code"], answer["message"], answer["version"]) == (1, "success", "V2.0.0")
    assert merchant.signed_rightly(answer)
    data = answer["data"]
    assert set(data) == {
        "category", "merchantOrderNo", "epayOrderNo", "status", "amount", "settlementCurrency",
        "receiveAmount", "receiveCurrency", "rate", "payerFee", "extendFields", "rateMode",
    }  # fmt: skip
    assert (data["status"], data["merchantOrderNo"], data["extendFields"]) == (
        "1",
        "A1",
        '{"shop":"7"}',
    )
    assert data["amount"] != data["receiveAmount"]
    assert Decimal(data["amount"]) == Decimal(data["receiveAmount"]) == 10


def test_order_is_paid_after_a_while(merchant: Merchant) -> None:
    """An order goes from 1 to 7, and the ledger then shows one payment."""
    created = merchant.create("A1")["data"]
    until(lambda: merchant.status("A1") == "7")
    answer = merchant.query("A1")
    assert merchant.signed_rightly(answer)
    assert answer["data"]["epayOrderNo"] == created["epayOrderNo"]
    assert (answer["data"]["amount"], answer["data"]["currency"]) == ("10.00", "USD")
    row = merchant.ledger("A1")
    assert (row["payments"], row["status"], row["fault"]) == (1, "7", None)
    assert row["payments_made"][0]["amount"] == "10.00"


def test_wrong_signature_is_refused(merchant: Merchant) -> None:
    """A wrong signature gets bad_signature_code on every call, and no order."""
    for name in ("createEwalletTransaction", "queryTransaction", "getLimit", "getBalance"):
        answer = merchant.call(name, merchant.param("A1"), signature="0" * 64).json()
        assert (answer["code"], answer["data"]) == (2002, None)
    row = merchant.ledger("A1")
    assert (row["creates_received"], row["creates_accepted"]) == (1, 0)


def test_java_nested_form_is_checked(start: Any) -> None:
    """A gateway set to another nested form accepts that form and no other."""
    merchant = start(nested=NestedForm.JAVA)
    param = merchant.param("A1", fault="no_callback")
    assert merchant.call("createEwalletTransaction", param).json()["code"] == 2002
    right = sign(param, "TESTKEY123", NestedForm.JAVA)
    assert merchant.call("createEwalletTransaction", param, right).json()["code"] == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"epayAccount": "other@epay.com"}, 2006),
        ({"version": "V9"}, 2003),
        ({"category": "BANK"}, 2003),
        ({"channelCode": "99"}, 2003),
        ({"currency": "XXX"}, 2003),
        ({"merchantOrderNo": ""}, 2003),
        ({"amount": "0"}, 2003),
        ({"amount": "-1"}, 2003),
        ({"amount": "ten"}, 2003),
        ({"amount": "NaN"}, 2003),
        ({"amount": 10}, 2003),
        ({"amount": "10000000"}, 2007),
        ({"receiverInfo": {}}, 2003),
        ({"receiverInfo": {"accountNo": ""}}, 2003),
        ({"receiverInfo": {"accountNo": "1", "remark": "sandbox:no_such_fault"}}, 2003),
        ({"notifyUrl": "ftp://x"}, 2003),
        ({"extendFields": "text"}, 2003),
    ],
)
def test_bad_create_is_refused(merchant: Merchant, changes: dict[str, Any], code: int) -> None:
    """A create with a bad field is refused with a code of the sandbox's own."""
    answer = merchant.call("createEwalletTransaction", merchant.param("A1", **changes)).json()
    assert answer["code"] == code
    assert merchant.gateway.ledger()["totals"]["creates_accepted"] == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"param": 1, "sign": ""}', b"\xff"])
def test_rubbish_is_refused(merchant: Merchant, body: bytes) -> None:
    """A body that is no envelope gets bad_request_code."""
    url = f"{merchant.gateway.base_url}/payoutApi/createEwalletTransaction"
    assert merchant.session.post(url, data=body, timeout=60).json()["code"] == 2003


def test_unknown_order_is_not_found(merchant: Merchant) -> None:
    """A query for an order that was never created gets not_found_code."""
    assert merchant.query("nowhere")["code"] == 2001


def test_limit_and_balance(start: Any) -> None:
    """The configured limits come per currency, balances as a signed array less what was paid."""
    merchant = start(limits="USD=1:50", balances="USD=100,EUR=5")
    base = {"epayAccount": merchant.gateway.config.account, "version": "V2.0.0"}
    asked = base | {"currency": "USD", "category": "EWALLET", "type": "PAYMENT"}
    limit = merchant.call("getLimit", asked).json()
    assert limit["data"] == {"singleMin": "1", "singleMax": "50"}
    assert merchant.signed_rightly(limit)
    merchant.create("A1")
    until(lambda: merchant.status("A1") == "7")
    balance = merchant.call("getBalance", base | {"currency": ""}).json()
    assert balance["data"] == [
        {"currency": "USD", "balance": "90.00"},
        {"currency": "EUR", "balance": "5.00"},
    ]
    assert merchant.signed_rightly(balance)


def test_second_create_is_refused(merchant: Merchant) -> None:
    """By default a merchantOrderNo is good for one order."""
    assert merchant.create("A1")["code"] == 1
    assert merchant.create("A1")["code"] == 2004
    until(lambda: merchant.status("A1") == "7")
    row = merchant.ledger("A1")
    assert (row["creates_received"], row["creates_accepted"], row["payments"]) == (2, 1, 1)


def test_second_create_gives_the_same_order(start: Any) -> None:
    """With duplicates=same a second create is answered with the first one's order."""
    merchant = start(duplicates="same")
    first, second = merchant.create("A1"), merchant.create("A1")
    assert second["code"] == 1
    assert second["data"]["epayOrderNo"] == first["data"]["epayOrderNo"]
    until(lambda: merchant.status("A1") == "7")
    assert merchant.ledger("A1")["payments"] == 1


def test_cruel_gateway_pays_again(start: Any) -> None:
    """With duplicates=pay a second create is a second payment, and the ledger says so."""
    merchant = start(duplicates="pay")
    first, second = merchant.create("A1"), merchant.create("A1")
    assert second["data"]["epayOrderNo"] != first["data"]["epayOrderNo"]
    until(lambda: merchant.ledger("A1")["payments"] == 2)
    assert merchant.gateway.ledger()["totals"]["paid_twice"] == 1


def test_ledger_and_log_of_calls(merchant: Merchant) -> None:
    """The control paths show every call, change an order's status, and reset."""
    root, session = merchant.gateway.root_url, merchant.session
    merchant.create("A1")
    until(lambda: merchant.status("A1") == "7")
    log = session.get(f"{root}/_requests", timeout=60).json()
    assert [entry[1:] for entry in log[:2]] == [
        ["createEwalletTransaction", "A1"],
        ["queryTransaction", "A1"],
    ]
    later = session.get(f"{root}/_requests", params={"since": log[0][0]}, timeout=60).json()
    assert later == log[1:]
    changed = session.post(f"{root}/_orders/A1/report", json={"status": "6"}, timeout=60)
    assert changed.json()["status"] == "6"
    assert merchant.status("A1") == "6"
    assert merchant.ledger("A1")["payments"] == 1
    session.post(f"{root}/_reset", timeout=60)
    assert session.get(f"{root}/_ledger", timeout=60).json()["orders"] == {}
    assert session.get(f"{root}/_ledger/A1", timeout=60).status_code == 404
    gone = session.post(f"{root}/_orders/A1/report", json={"status": "6"}, timeout=60)
    assert gone.status_code == 404
