"""Envelopes and payloads exactly as sections 2, 3 and 5 have them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sandbox.orders import Order
from sandbox.settings import SUCCESS_CODE, SandboxConfig
from shared.epay.callbacks import sign_callback
from shared.epay.signing import sign

VERSION = "V2.0.0"


def with_places(amount: Decimal, places: int) -> str:
    """Write an amount with at least so many decimals, which vary as in the samples (section 2)."""
    bare = amount.normalize()
    exponent = bare.as_tuple().exponent
    own = max(0, -exponent) if isinstance(exponent, int) else 0
    return f"{amount:.{max(own, places)}f}"


def answer(
    config: SandboxConfig,
    data: dict[str, Any] | list[Any] | None,
    code: int = SUCCESS_CODE,
    message: str = "success",
) -> dict[str, Any]:
    """Wrap `data`. The sign covers `data` alone (section 4.4)."""
    return {
        "sign": "" if data is None else sign(data, config.api_key, config.nested),
        "epayAccount": config.account,
        "version": VERSION,
        "code": code,
        "message": message,
        "data": data,
    }


def refusal(config: SandboxConfig, code: int, message: str) -> dict[str, Any]:
    """Wrap a code other than 1, without data and sign: what EPAY sends is not documented (7)."""
    return answer(config, None, code, message)


def created_data(order: Order, status: str) -> dict[str, Any]:
    """Give `data` of createEwalletTransaction (section 3.1)."""
    return {
        "category": "EWALLET",
        "merchantOrderNo": order.merchant_order_no,
        "epayOrderNo": order.epay_order_no,
        "status": status,
        "amount": with_places(order.amount, 0),
        "settlementCurrency": order.currency,
        "receiveAmount": with_places(order.amount, 1),
        "receiveCurrency": order.currency,
        "rate": "1.000000",
        "payerFee": with_places(order.fee, 1),
        "extendFields": order.extend_fields,
        "rateMode": None,
    }


def query_data(order: Order, status: str) -> dict[str, Any]:
    """Give `data` of queryTransaction (section 3.2)."""
    return {
        "category": "EWALLET",
        "merchantOrderNo": order.merchant_order_no,
        "epayOrderNo": order.epay_order_no,
        "pinCode": "",
        "status": status,
        "amount": with_places(order.amount, 2),
        "currency": order.currency,
        "receiveAmount": with_places(order.amount, 2),
        "receiveCurrency": order.currency,
        "paymentAmount": with_places(order.amount, 2),
        "paymentCurrency": order.currency,
        "rate": "1.000000",
        "fee": with_places(order.fee, 1),
        "rateMode": "0",
        "extendFields": order.extend_fields,
        "senderInfo": None,
        "receiveInfo": None,
        "orderDescription": None,
    }


def callback_fields(
    config: SandboxConfig, order: Order, status: str, amount: Decimal
) -> dict[str, str]:
    """Give the signed form fields of a callback (section 5)."""
    text = with_places(amount, 2)
    fields = {
        "epayAccount": config.account,
        "merchantOrderNo": order.merchant_order_no,
        "epayOrderNo": order.epay_order_no,
        "pinCode": "",
        "amount": text,
        "paymentAmount": text,
        "paymentCurrency": order.currency,
        "receiveAmount": text,
        "receiveCurrency": order.currency,
        "settlementCurrency": order.currency,
        "fee": with_places(order.fee, 2),
        "rate": "1.000000",
        "status": status,
        "remark": order.remark or "",
        "extendFields": order.extend_fields or "",
    }
    return fields | {"sign": sign_callback(fields, config.api_key, config.nested)}


def spoiled(signature: str) -> str:
    """Make a signature wrong, but of the right form."""
    return signature[1:] + ("0" if signature[:1] != "0" else "1")
