"""The order book and the ledger, behind one lock: the judge of paid-once, so it must be exact."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from decimal import Decimal
from typing import Any

from sandbox.faults import Fault, FaultPlan
from sandbox.orders import FINAL, LedgerRow, Order, Payment, Status
from sandbox.settings import Duplicates


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
            recent = itertools.takewhile(lambda entry: entry[0] > moment, reversed(self._entries))
            return list(recent)[::-1]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()


class OrderBook:
    """Every order, and what was received, accepted and paid under its number."""

    def __init__(self, duplicates: Duplicates) -> None:
        self._duplicates = Duplicates(duplicates)
        self._lock = threading.Lock()
        self._rows: dict[str, LedgerRow] = {}
        self._numbers = itertools.count(1)
        # Two runs of the sandbox must not give the same epayOrderNo to different orders.
        self._number_base = time.time_ns() // 1_000_000

    def arrive(self, no: str, amount: str | None, currency: str | None) -> None:
        """Count a create that arrived with a valid envelope, whatever becomes of it."""
        with self._lock:
            row = self._rows.setdefault(no, LedgerRow())
            row.creates_received += 1
            if not row.orders:
                row.amount, row.currency = amount, currency

    def note_faults(self, no: str, faults: FaultPlan) -> None:
        """Note which faults were ordered for a number; its first order's stay."""
        with self._lock:
            row = self._rows.setdefault(no, LedgerRow())
            if not row.orders:
                row.faults = faults

    def spend(self, no: str, fault: Fault) -> bool:
        """Give True the first time a fault is asked for under a number, False ever after."""
        with self._lock:
            spent = self._rows.setdefault(no, LedgerRow()).spent
            first = fault not in spent
            spent.add(fault)
            return first

    def new_order_no(self) -> str:
        """Give the next epayOrderNo, 24 digits like the documented samples."""
        return f"{self._number_base:013d}{next(self._numbers):011d}"

    def accept(self, order: Order) -> tuple[Order | None, bool]:
        """Take an order in.

        Gives the order that answers (None: refused as a duplicate) and whether it is new.
        """
        with self._lock:
            row = self._rows.setdefault(order.merchant_order_no, LedgerRow())
            if row.orders and self._duplicates is not Duplicates.PAY:
                same = self._duplicates is Duplicates.SAME
                return (row.orders[-1] if same else None), False
            row.orders.append(order)
            row.creates_accepted += 1
            return order, True

    def look_up(self, no: str) -> tuple[Order | None, str]:
        """Count a query; gives the number's newest visible order (or None) and its status now."""
        with self._lock:
            row = self._rows.setdefault(no, LedgerRow())
            row.queries += 1
            now = time.monotonic()
            for order in reversed(row.orders):
                if order.visible_at <= now:
                    return order, order.status
            return None, ""

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
                payment = Payment(order.epay_order_no, order.amount, order.currency, time.time())
                self._row_of(order).payments.append(payment)
            return True

    def count_answer(self, order: Order) -> int:
        """Count an answer about an order; 1 for the first."""
        with self._lock:
            order.answers += 1
            return order.answers

    def hold_callback(self, order: Order) -> None:
        """Keep the order's callback back until `release_callback`."""
        with self._lock:
            order.callback_held = True

    def release_callback(self, order: Order) -> bool:
        """Give True once, to the one caller that must now send the callback that was held."""
        with self._lock:
            held, order.callback_held = order.callback_held, False
            return held

    def callback_sent(self, order: Order) -> None:
        """Count a callback that goes out."""
        with self._lock:
            self._row_of(order).callbacks_sent += 1

    def callback_acknowledged(self, order: Order) -> None:
        """Count a callback that was answered with `success`."""
        with self._lock:
            self._row_of(order).callbacks_acknowledged += 1

    def paid_by_currency(self) -> dict[str, Decimal]:
        """Sum up what was paid out so far."""
        with self._lock:
            sums: dict[str, Decimal] = {}
            for row in self._rows.values():
                for payment in row.payments:
                    sums[payment.currency] = sums.get(payment.currency, Decimal(0)) + payment.amount
            return sums

    def ledger(self) -> dict[str, Any]:
        """Give all rows and their totals, at one instant."""
        with self._lock:
            rows = self._rows.values()
            totals = {
                "creates_received": sum(row.creates_received for row in rows),
                "creates_accepted": sum(row.creates_accepted for row in rows),
                "payments": sum(len(row.payments) for row in rows),
                "paid_orders": sum(bool(row.payments) for row in rows),
                "paid_twice": sum(len(row.payments) > 1 for row in rows),
                "queries": sum(row.queries for row in rows),
                "callbacks_sent": sum(row.callbacks_sent for row in rows),
                "callbacks_acknowledged": sum(row.callbacks_acknowledged for row in rows),
            }
            return {
                "orders": {no: row.as_json() for no, row in self._rows.items()},
                "totals": totals,
            }

    def ledger_of(self, no: str) -> dict[str, Any] | None:
        """Give one row, its payments under `payments_made`; None for a number never heard."""
        with self._lock:
            row = self._rows.get(no)
            if row is None:
                return None
            return row.as_json() | {"payments_made": [paid.as_json() for paid in row.payments]}

    def reset(self) -> None:
        """Forget every order and payment."""
        with self._lock:
            self._rows.clear()

    def _row_of(self, order: Order) -> LedgerRow:
        # An order may outlive a reset for a moment: what it does then is booked where none sees it.
        row = self._rows.get(order.merchant_order_no)
        return row if row and order in row.orders else LedgerRow()
