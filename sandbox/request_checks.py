"""What the gateway checks before it does anything; failing has a code of the sandbox's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.settings import SandboxConfig
from shared.epay.signing import verify

CHANNEL_CODES = frozenset({"11", "12", "16", "18"})
VERSIONS = frozenset({"V1.0.0", "V2.0.0"})


class RefusedError(Exception):
    """The call is answered with a code other than 1."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request body that has the right shape (section 2). Nothing in it was checked yet."""

    param: dict[str, Any]
    sign: str

    def text(self, name: str) -> str | None:
        """Give a field of `param` if it is a text with something in it."""
        value = self.param.get(name)
        return value if isinstance(value, str) and value else None


@dataclass(frozen=True, slots=True)
class CreateFields:
    """The checked fields of a create (section 3.1)."""

    merchant_order_no: str
    amount: Decimal
    currency: str
    remark: str | None
    notify_url: str | None
    extend_fields: str | None


def read_envelope(config: SandboxConfig, body: bytes) -> Envelope:
    """Read the request body as an envelope; raises RefusedError if it is none."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise RefusedError(config.bad_request_code, "body is not JSON") from error
    if isinstance(content, dict):
        param, signature = content.get("param"), content.get("sign")
        if isinstance(param, dict) and isinstance(signature, str):
            return Envelope(param, signature)
    raise RefusedError(config.bad_request_code, "body needs param and sign")


def check_sender(config: SandboxConfig, envelope: Envelope) -> None:
    """Check the account, the signature (section 4) and the version."""
    if envelope.param.get("epayAccount") != config.account:
        raise RefusedError(config.wrong_account_code, "unknown epayAccount")
    if not verify(envelope.param, envelope.sign, [config.api_key], config.nested):
        raise RefusedError(config.bad_signature_code, "signature error")
    if envelope.param.get("version") not in VERSIONS:
        raise RefusedError(config.bad_request_code, "unknown version")


def check_create(
    config: SandboxConfig, limits: Mapping[str, tuple[Decimal, Decimal]], envelope: Envelope
) -> CreateFields:
    """Check every field, including those that section 3.1 marks (!): optional but always sent."""
    bad = config.bad_request_code
    if envelope.param.get("category") != "EWALLET":
        raise RefusedError(bad, "category must be EWALLET")
    if envelope.text("channelCode") not in CHANNEL_CODES:
        raise RefusedError(bad, "unknown channelCode")
    currency = required(config, envelope, "currency")
    if currency not in limits:
        raise RefusedError(bad, "unsupported currency")
    amount = _amount(config, envelope)
    low, high = limits[currency]
    if not low <= amount <= high:
        raise RefusedError(config.limit_code, f"amount must be from {low} to {high} {currency}")
    receiver = envelope.param.get("receiverInfo")
    if not isinstance(receiver, dict) or not isinstance(receiver.get("accountNo"), str):
        raise RefusedError(bad, "receiverInfo needs accountNo")
    if not receiver["accountNo"]:
        raise RefusedError(bad, "receiverInfo.accountNo is empty")
    extend_fields = envelope.param.get("extendFields")
    if extend_fields is not None and not isinstance(extend_fields, dict):
        raise RefusedError(bad, "extendFields must be an object")
    return CreateFields(
        merchant_order_no=required(config, envelope, "merchantOrderNo"),
        amount=amount,
        currency=currency,
        remark=remark_of(envelope) or None,
        notify_url=_notify_url(config, envelope),
        extend_fields=json.dumps(extend_fields, separators=(",", ":")) if extend_fields else None,
    )


def required(config: SandboxConfig, envelope: Envelope, name: str) -> str:
    """Give a text field that must be there."""
    value = envelope.text(name)
    if value is None:
        raise RefusedError(config.bad_request_code, f"{name} is missing")
    return value


def remark_of(envelope: Envelope) -> str:
    """Give receiverInfo.remark, or an empty text."""
    receiver = envelope.param.get("receiverInfo")
    remark = receiver.get("remark") if isinstance(receiver, dict) else None
    return remark if isinstance(remark, str) else ""


def _amount(config: SandboxConfig, envelope: Envelope) -> Decimal:
    text = required(config, envelope, "amount")
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise RefusedError(config.bad_request_code, "amount must be a positive decimal text")
    return amount


def _notify_url(config: SandboxConfig, envelope: Envelope) -> str | None:
    url = envelope.text("notifyUrl")
    if url is not None and not url.startswith(("http://", "https://")):
        raise RefusedError(config.bad_request_code, "notifyUrl must be an http address")
    return url
