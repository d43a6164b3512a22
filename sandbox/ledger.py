"""The order book and the ledger, behind one lock: the judge of paid-once, so it must be exact."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict, deque
from decimal import Decimal
from typing import Any

from sandbox.faults import Fault, FaultPlan
from sandbox.orders import FINAL, LedgerRow, Order, Status
from sandbox.settings import Duplicates

COUNTED = (
    "creates_received",
    "creates_accepted",
    "queries",
    "callbacks_sent",
    "callbacks_acknowledged",
)


class RequestLog:
    """When which call came: (Unix time, call, merchantOrderNo or None), the last `size` of them."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._entries: deque[tuple[float, str, str | None]] = deque(maxlen=size)

    def add(self, call: str, merchant_order_no: str | None) -> None:
        """Note that a call has arrived now."""
        with self._lock:
            self._entries.append((time.time(), call, merchant_order_no))

    def since(self, moment: float) -> list[tuple[float, str, str | None]]:
        """Give the calls that arrived after a Unix time, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry[0] > moment]


class OrderBook:
    """Every order, and what was received, accepted and paid under its number."""

    def __init__(self, duplicates: Duplicates) -> None:
        self._duplicates = duplicates
        self._lock = threading.Lock()
        self._rows: defaultdict[str, LedgerRow] = defaultdict(LedgerRow)
        self._numbers = itertools.count(1)
        # Two runs of the sandbox must not give the same epayOrderNo to different orders.
        self._number_base = time.time_ns() // 1_000_000

    def arrive(self, no: str, amount: str | None, currency: str | None) -> None:
        """Count a create that arrived with a valid envelope, whatever becomes of it."""
        with self._lock:
            row = self._rows[no]
            row.counts["creates_received"] += 1
            if not row.orders:
                row.amount, row.currency = amount, currency

    def note_faults(self, no: str, faults: FaultPlan) -> None:
        """Note which faults were ordered for a number; its first order's stay."""
        with self._lock:
            if not self._rows[no].orders:
                self._rows[no].faults = faults

    def spend(self, no: str, faults: FaultPlan, *candidates: Fault) -> Fault | None:
        """Give the first candidate that was ordered and has not struck this number; it has now."""
        with self._lock:
            spent = self._rows[no].spent
            ready = (fault for fault in candidates if fault in faults and fault not in spent)
            fault = next(ready, None)
            if fault:
                spent.add(fault)
            return fault

    def new_order_no(self) -> str:
        """Give the next epayOrderNo, 24 digits like the documented samples."""
        return f"{self._number_base:013d}{next(self._numbers):011d}"

    def accept(self, order: Order) -> Order | None:
        """Take an order in; gives it, or the first of its number, or None to refuse it."""
        with self._lock:
            row = self._rows[order.merchant_order_no]
            if row.orders and self._duplicates is not Duplicates.PAY:
                return row.orders[-1] if self._duplicates is Duplicates.SAME else None
            row.orders.append(order)
            row.counts["creates_accepted"] += 1
            return order

    def look_up(self, no: str) -> Order | None:
        """Count a query; gives the number's newest visible order, or None."""
        with self._lock:
            row = self._rows[no]
            row.counts["queries"] += 1
            now = time.monotonic()
            return next((one for one in reversed(row.orders) if one.visible_at <= now), None)

    def find(self, no: str) -> Order | None:
        """Give the newest order of a number, hidden or not."""
        with self._lock:
            row = self._rows.get(no)
            return row.orders[-1] if row and row.orders else None

    def move(self, order: Order, status: str, *, even_if_final: bool = False) -> bool:
        """Change an order's status, and pay it when it first becomes 7; False if it had ended."""
        with self._lock:
            if order.status in FINAL and not even_if_final:
                return False
            order.status = status
            if status == Status.PAID and not order.paid:
                order.paid = True
                payment = {
                    "epayOrderNo": order.epay_order_no,
                    "amount": str(order.amount),
                    "currency": order.currency,
                    "at": time.time(),
                }
                self._row_of(order).payments.append(payment)
            return True

    def count(self, order: Order, what: str) -> None:
        """Count one of `COUNTED` that happened to an order."""
        with self._lock:
            self._row_of(order).counts[what] += 1

    def paid_by_currency(self) -> dict[str, Decimal]:
        """Sum up what was paid out so far."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        with self._lock:
            for row in self._rows.values():
                for payment in row.payments:
                    sums[payment["currency"]] += Decimal(payment["amount"])
        return sums

    def ledger(self) -> dict[str, Any]:
        """Give all rows and their totals, at one instant."""
        with self._lock:
            rows = self._rows.values()
            totals = {name: sum(row.counts[name] for row in rows) for name in COUNTED} | {
                "payments": sum(len(row.payments) for row in rows),
                "paid_orders": sum(bool(row.payments) for row in rows),
                "paid_twice": sum(len(row.payments) > 1 for row in rows),
            }
            orders = {no: row.as_json() for no, row in self._rows.items()}
            return {"orders": orders, "totals": totals}

    def ledger_of(self, no: str) -> dict[str, Any] | None:
        """Give one row, its payments under `payments_made`; None for a number never heard."""
        with self._lock:
            row = self._rows.get(no)
            return row.as_json() | {"payments_made": list(row.payments)} if row else None

    def reset(self) -> None:
        """Forget every order and payment."""
        with self._lock:
            self._rows.clear()

    def _row_of(self, order: Order) -> LedgerRow:
        # An order may outlive a reset for a moment: its events then count in no row of the book.
        row = self._rows.get(order.merchant_order_no)
        return row if row and order in row.orders else LedgerRow()
