"""What EPAY and we tell each other about an order, typed (epay-gateway sections 2, 3, 5)."""

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
    """What EPAY says of one order, whichever way it came. A field that EPAY left out is None."""

    source: str
    """`create`, `query` or `callback`."""
    epay_account: str | None
    merchant_order_no: str | None
    epay_order_no: str | None
    status: str | None
    """EPAY's status code as its text, for example "7" (section 6)."""
    amount: Decimal | None
    currency: str | None
    fee: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """EPAY answered, well formed, with a code other than 1 (section 7). No proof of anything.

    A signature over its data is right, but a refusal may come without data or signature.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class NeverSent:
    """Provably nothing left: name lookup, refused connection, connect timeout, TLS (law 2)."""

    reason: str


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """Something may have reached EPAY and no answer that can be trusted came back (law 2)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Limit:
    """getLimit's answer (section 3.3); whether the ends belong to the range is not documented."""

    single_min: Decimal
    single_max: Decimal


@dataclass(frozen=True, slots=True)
class Balance:
    """One currency of getBalance's answer (section 3.4)."""

    currency: str
    balance: Decimal


Failure = Refused | NeverSent | OutcomeUnknown
"""Every way in which a call can end without EPAY's positive answer."""

OrderAnswer = Report | Failure
