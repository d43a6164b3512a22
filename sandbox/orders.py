"""The sandbox's records: an order, a payment, and the ledger's row for one merchantOrderNo."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sandbox.faults import NO_FAULTS, Fault, FaultPlan


class Status(StrEnum):
    """The order statuses that the sandbox uses (section 6)."""

    CONFIRMED = "1"
    CANCELLED = "5"
    FAILED = "6"
    PAID = "7"
    CLOSED = "8"
    EXCEPTION = "11"
    PENDING = "19"
    FEE_KEPT = "20"


FINAL = frozenset({"5", "6", "7", "8", "20"})
"""Statuses that end an order; the ones that are called back (section 5)."""


@dataclass(slots=True, eq=False)
class Order:
    """One order that the gateway accepted."""

    merchant_order_no: str
    epay_order_no: str
    amount: Decimal
    currency: str
    fee: Decimal
    remark: str | None
    notify_url: str | None
    extend_fields: str | None
    """The merchant's object as a JSON text, as EPAY gives it back (section 3.1)."""
    faults: FaultPlan
    visible_at: float
    """Monotonic time from which queries find the order."""
    status: str = Status.CONFIRMED
    paid: bool = False
    answers: int = 0
    """How many answers described this order."""
    callback_held: bool = False
    """Whether its callback waits for a query to see the end."""


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that left, once. `at` is Unix time."""

    epay_order_no: str
    amount: Decimal
    currency: str
    at: float

    def as_json(self) -> dict[str, Any]:
        """As /_ledger/<merchantOrderNo> shows it."""
        return {
            "epayOrderNo": self.epay_order_no,
            "amount": str(self.amount),
            "currency": self.currency,
            "at": self.at,
        }


@dataclass(slots=True, eq=False)
class LedgerRow:
    """All that happened under one merchantOrderNo, including creates that came to nothing."""

    amount: str | None = None
    currency: str | None = None
    faults: FaultPlan = NO_FAULTS
    creates_received: int = 0
    creates_accepted: int = 0
    queries: int = 0
    callbacks_sent: int = 0
    callbacks_acknowledged: int = 0
    orders: list[Order] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    spent: set[Fault] = field(default_factory=set)
    """Faults of the first create only, that have had their turn."""

    def as_json(self) -> dict[str, Any]:
        """As /_ledger shows it."""
        return {
            "creates_received": self.creates_received,
            "creates_accepted": self.creates_accepted,
            "payments": len(self.payments),
            "status": self.orders[-1].status if self.orders else None,
            "amount": self.amount,
            "currency": self.currency,
            "queries": self.queries,
            "callbacks_sent": self.callbacks_sent,
            "callbacks_acknowledged": self.callbacks_acknowledged > 0,
            "fault": self.faults.name,
        }
