"""Every setting of the sandbox, each from a command-line option or an environment variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shared.epay.signing import NestedForm

PREFIX = "/capi/openapi"
"""The path under which all calls of the gateway live (section 1)."""

SUCCESS_CODE = 1
"""The only response code that EPAY documents (section 7)."""


class Duplicates(StrEnum):
    """What a second create of a merchantOrderNo gets: not documented, so all three are played."""

    REFUSE = "refuse"
    """`duplicate_code`, and no second order."""
    PAY = "pay"
    """The cruel one: a second order under the same number, and a second payment."""
    SAME = "same"
    """The existing order is the answer, with code 1."""


def _about(text: str) -> dict[str, str]:
    return {"about": text}


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """The sandbox's settings. All times are seconds.

    EPAY documents no code but 1: the codes here are the sandbox's own, not EPAY's.
    """

    account: str = field(
        default="test2020@epay.com", metadata=_about("the one merchant account (epayAccount)")
    )
    api_key: str = field(default="TESTKEY123", metadata=_about("the merchant's API key"))
    nested: NestedForm = field(
        default=NestedForm.COMMA, metadata=_about("how nested objects are signed (section 4.3)")
    )
    host: str = field(default="127.0.0.1", metadata=_about("address to listen on"))
    port: int = field(default=0, metadata=_about("port to listen on; 0 takes a free one"))

    pay_after: float = field(
        default=0.5, metadata=_about("from the creation of an order to its end")
    )
    callback_scale: float = field(
        default=1.0, metadata=_about("factor on the retry schedule of callbacks")
    )
    callback_timeout: float = field(
        default=10.0, metadata=_about("how long one callback waits for its reply")
    )
    callback_workers: int = field(
        default=16, metadata=_about("how many callbacks are posted at the same time")
    )
    duplicates: Duplicates = field(
        default=Duplicates.REFUSE, metadata=_about("what a second create gets")
    )
    fee: str = field(default="0.10", metadata=_about("the fee of every order, in its currency"))
    limits: str = field(
        default="USD=0:9999999,EUR=0:9999999,GBP=0:9999999,HKD=0:9999999,JPY=0:9999999",
        metadata=_about(
            "singleMin:singleMax per currency, both allowed; a currency not listed is refused"
        ),
    )
    balances: str = field(
        default="EUR=5000000,GBP=5000000,HKD=5000000,JPY=5000000,USD=5000000",
        metadata=_about(
            "opening balances; payments are taken off, but never refused for want of money"
        ),
    )

    not_found_code: int = field(
        default=2001, metadata=_about("query of an unknown order (the sandbox's own code)")
    )
    bad_signature_code: int = field(default=2002, metadata=_about("wrong signature (own code)"))
    bad_request_code: int = field(default=2003, metadata=_about("missing or bad field (own code)"))
    duplicate_code: int = field(
        default=2004, metadata=_about("merchantOrderNo used before (own code)")
    )
    refused_code: int = field(default=2005, metadata=_about("the fault `refuse` (own code)"))
    wrong_account_code: int = field(
        default=2006, metadata=_about("epayAccount is not the merchant's (own code)")
    )
    limit_code: int = field(default=2007, metadata=_about("amount outside the limits (own code)"))

    silence_seconds: float = field(
        default=60.0, metadata=_about("fault accept_then_silence: how long it holds on")
    )
    slow_seconds: float = field(default=3.0, metadata=_about("fault slow: delay of the answer"))
    down_seconds: float = field(
        default=2.0, metadata=_about("fault down: how long the gateway is away")
    )
    hidden_seconds: float = field(
        default=20.0, metadata=_about("fault hidden: how long queries find nothing")
    )
    pending_seconds: float = field(
        default=3.0, metadata=_about("faults pending and exception: how long they last")
    )
    late_callback_seconds: float = field(
        default=60.0,
        metadata=_about("fault late_callback: longest wait for a query that sees the end"),
    )
    contradict_after: float = field(
        default=1.0, metadata=_about("fault contradict: from the first callback to the other")
    )
    duplicate_callbacks: int = field(
        default=5, metadata=_about("fault duplicate_callback: how many at once")
    )
    wrong_callback_signatures: int = field(
        default=1,
        metadata=_about("fault wrong_callback_signature: how many callbacks before a right one"),
    )
    request_log_size: int = field(
        default=200_000, metadata=_about("how many calls /_requests remembers")
    )


def settings_of(texts: Mapping[str, str]) -> dict[str, Any]:
    """Convert texts to the types of their fields; raises ValueError where one does not fit."""
    defaults: dict[str, Any] = {item.name: item.default for item in fields(SandboxConfig)}
    return {name: type(defaults[name])(text) for name, text in texts.items()}


def environment_texts(environ: Mapping[str, str]) -> dict[str, str]:
    """Read SANDBOX_<NAME> for each field, or else the variable that the workers know it by."""
    fallback = {"account": "EPAY_ACCOUNT", "api_key": "EPAY_API_KEY", "nested": "EPAY_SIGN_NESTED"}
    found: dict[str, str] = {}
    for item in fields(SandboxConfig):
        text = environ.get(f"SANDBOX_{item.name.upper()}") or environ.get(
            fallback.get(item.name, "")
        )
        if text:
            found[item.name] = text
    return found


def parse_limits(text: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Read `USD=0:100,EUR=1:50` as (singleMin, singleMax) by currency."""
    limits = {}
    for currency, _, span in (part.strip().partition("=") for part in text.split(",")):
        low, _, high = span.partition(":")
        limits[currency] = (Decimal(low), Decimal(high))
    return limits


def parse_balances(text: str) -> dict[str, Decimal]:
    """Read `USD=1000,EUR=5` as amounts by currency."""
    pairs = (part.strip().partition("=") for part in text.split(","))
    return {currency: Decimal(amount) for currency, _, amount in pairs}
