"""The payouts that every variant is asked for, and the bytes that they are at the gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from shared.epay.callbacks import sign_callback
from shared.epay.signing import NestedForm, sign

ACCOUNT = "test2020@epay.com"
API_KEY = "TESTKEY123"
"""The stub's own key: it opens nothing."""
NESTED = NestedForm.COMMA
AMOUNT = "10.00"
CURRENCY = "USD"
FEE = "0.20"
CREATE = "/payoutApi/createEwalletTransaction"
QUERY = "/payoutApi/queryTransaction"
VERSION = "V2.0.0"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


def request_kwargs(order_no: str) -> dict[str, str]:
    """The kwargs of `payouts.request` for one payout."""
    return {
        "merchant_order_no": order_no,
        "amount": AMOUNT,
        "currency": CURRENCY,
        "channel_code": "11",
        "account_no": "41111810111111111111",
        "remark": "salary",
    }


def create_param(order_no: str) -> dict[str, Any]:
    """What EPAY is sent for it, unsigned."""
    asked = request_kwargs(order_no)
    return {
        "epayAccount": ACCOUNT,
        "version": VERSION,
        "category": "EWALLET",
        "merchantOrderNo": order_no,
        "currency": asked["currency"],
        "channelCode": asked["channel_code"],
        "amount": asked["amount"],
        "receiverInfo": {"accountNo": asked["account_no"], "remark": asked["remark"]},
    }


def query_param(order_no: str) -> dict[str, Any]:
    """The query for it, unsigned."""
    return {"epayAccount": ACCOUNT, "version": VERSION, "merchantOrderNo": order_no}


def signed_body(param: Mapping[str, Any]) -> str:
    """A request as it goes over the wire."""
    envelope = {"param": param, "sign": sign(param, API_KEY, NESTED)}
    return json.dumps(envelope, separators=(",", ":"))


def callback_form(order_no: str) -> str:
    """A signed callback that reports success, form-encoded."""
    fields = {
        "epayAccount": ACCOUNT,
        "merchantOrderNo": order_no,
        "epayOrderNo": f"2311{order_no}",
        "amount": AMOUNT,
        "paymentAmount": AMOUNT,
        "paymentCurrency": CURRENCY,
        "receiveAmount": AMOUNT,
        "receiveCurrency": CURRENCY,
        "settlementCurrency": CURRENCY,
        "fee": FEE,
        "rate": "1.000000",
        "status": "7",
        "accountNo": "41111810111111111111",
        "remark": "salary",
    }
    return urlencode({**fields, "sign": sign_callback(fields, API_KEY, NESTED)})
