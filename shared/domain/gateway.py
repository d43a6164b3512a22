"""Requests to EPAY and its answers as types (docs/epay-gateway.md sections 2, 3 and 5). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class CreateOrder:
    """One createEwalletTransaction request (section 3.1). `amount` is a decimal string."""

    merchant_order_no: str
    amount: str
    currency: str
    channel_code: str
    account_no: str
    remark: str | None = None
    extend_fields: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The state of one order as EPAY reports it. A field that EPAY left out is None."""

    source: str
    """`create`, `query` or `callback`."""
    epay_account: str | None
    merchant_order_no: str | None
    epay_order_no: str | None
    status: str | None
    """EPAY's status code as text, for example "7" (section 6)."""
    amount: Decimal | None
    currency: str | None
    fee: Decimal | None = None
    gateways: tuple[str, ...] = ()
    """The hosts of the gateway whose key verified it; empty: only one gateway can have sent it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A well-formed answer with a code other than 1 (section 7); it proves nothing (law 4).

    Data in it has a valid signature, but a refusal may come without data and signature.
    """

    code: str
    message: str

    def __str__(self) -> str:
        """The refusal as it is kept with a payout and shown to people."""
        return f"EPAY code {self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class NeverSent:
    """The request was provably not sent: DNS, refused connection, connect timeout, TLS (law 2)."""

    reason: str


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """The request may have reached EPAY, and no trustworthy answer came back (law 2)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Limit:
    """The answer of getLimit (section 3.3); whether its bounds are inclusive is not documented."""

    single_min: Decimal
    single_max: Decimal


@dataclass(frozen=True, slots=True)
class Balance:
    """One currency in the answer of getBalance (section 3.4)."""

    currency: str
    balance: Decimal


Failure = Refused | NeverSent | OutcomeUnknown
"""The results of a call other than success."""

OrderAnswer = Report | Failure
