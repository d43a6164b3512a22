"""The sandbox's records: an order, and the ledger's row for one merchantOrderNo."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sandbox.faults import Fault, FaultPlan


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
    answer_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Numbers the answers that describe this order."""


@dataclass(slots=True, eq=False)
class LedgerRow:
    """All that happened under one merchantOrderNo, including creates that came to nothing."""

    amount: str | None = None
    currency: str | None = None
    faults: FaultPlan = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """How often each of `ledger.COUNTED` happened."""
    orders: list[Order] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)
    """Money that left, as /_ledger/<merchantOrderNo> shows it. `at` is Unix time."""
    spent: set[Fault] = field(default_factory=set)
    """Faults of the first create only, that have had their turn."""

    def as_json(self) -> dict[str, Any]:
        """As /_ledger shows it."""
        return {
            "creates_received": self.counts["creates_received"],
            "creates_accepted": self.counts["creates_accepted"],
            "payments": len(self.payments),
            "status": self.orders[-1].status if self.orders else None,
            "amount": self.amount,
            "currency": self.currency,
            "queries": self.counts["queries"],
            "callbacks_sent": self.counts["callbacks_sent"],
            "callbacks_acknowledged": self.counts["callbacks_acknowledged"] > 0,
            "fault": "+".join(self.faults) or None,
        }
