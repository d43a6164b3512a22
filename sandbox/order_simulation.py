"""What becomes of an accepted order as time goes by."""

from __future__ import annotations

import contextlib
from functools import partial

from sandbox.callbacks import CallbackSender, Delivery
from sandbox.faults import Fault
from sandbox.ledger import OrderBook
from sandbox.orders import FINAL, Order, Status
from sandbox.scheduler import Scheduler
from sandbox.settings import SandboxConfig

_ENDS = {
    Fault.FAIL: Status.FAILED,
    Fault.CANCELLED: Status.CANCELLED,
    Fault.CLOSED: Status.CLOSED,
    Fault.FEE_KEPT: Status.FEE_KEPT,
}
_DETOURS = {Fault.PENDING: Status.PENDING, Fault.EXCEPTION: Status.EXCEPTION}
_AFTER_ANSWER_SECONDS = 0.1
"""A late callback comes after the answer of the query that it waited for."""


class OrderSimulation:
    """Moves orders through their statuses and has their callbacks sent."""

    def __init__(
        self, config: SandboxConfig, book: OrderBook, scheduler: Scheduler, sender: CallbackSender
    ) -> None:
        self._config = config
        self._book = book
        self._scheduler = scheduler
        self._sender = sender
        self._held_callbacks: set[Order] = set()
        """Orders whose callback waits for a query to see the end."""

    def begin(self, order: Order) -> None:
        """Set a new order on its way: status 1, after `pay_after` its end, or a detour."""
        stages: list[tuple[float, Status]] = [
            (order.faults.value(fault, self._config.pending_seconds), status)
            for fault, status in _DETOURS.items()
            if fault in order.faults
        ]
        end = next(
            (status for fault, status in _ENDS.items() if fault in order.faults), Status.PAID
        )
        # Each status is reached after the time that the one before it lasts.
        lasts = [self._config.pay_after, *(seconds for seconds, _ in stages)]
        statuses = [*(status for _, status in stages), end]
        at = 0.0
        for seconds, status in zip(lasts, statuses, strict=True):
            at += seconds
            self._scheduler.after(at, partial(self._reach, order, status))

    def saw(self, order: Order, status: str) -> None:
        """Send the callback that waited for a query to show the end, if this status is one."""
        if status in FINAL and order in self._held_callbacks:
            self._scheduler.after(_AFTER_ANSWER_SECONDS, partial(self._release, order))

    def report(self, order: Order, status: str, *, callback: bool) -> None:
        """Let the gateway change its mind about an order, final or not."""
        self._book.move(order, status, even_if_final=True)
        if callback and order.notify_url:
            self._sender.send(Delivery(order, status, order.amount))

    def _reach(self, order: Order, status: Status) -> None:
        if self._book.move(order, status) and status in FINAL:
            self._announce(order, status)

    def _announce(self, order: Order, status: str) -> None:
        if not order.notify_url or Fault.NO_CALLBACK in order.faults:
            return
        if Fault.LATE_CALLBACK in order.faults:
            self._held_callbacks.add(order)
            longest = order.faults.value(Fault.LATE_CALLBACK, self._config.late_callback_seconds)
            self._scheduler.after(longest, partial(self._release, order))
            return
        self._send(order, status)

    def _release(self, order: Order) -> None:
        with contextlib.suppress(KeyError):  # it was sent already
            self._held_callbacks.remove(order)
            self._send(order, order.status)

    def _send(self, order: Order, status: str) -> None:
        faults = order.faults
        amount = order.amount + 1 if Fault.WRONG_AMOUNT_CALLBACK in faults else order.amount
        wrong = 0
        if Fault.WRONG_CALLBACK_SIGNATURE in faults:
            configured = self._config.wrong_callback_signatures
            wrong = int(faults.value(Fault.WRONG_CALLBACK_SIGNATURE, configured))
        first = Delivery(order, status, amount, wrong_signatures=wrong)
        if Fault.OUT_OF_ORDER_CALLBACK in faults:
            stale = Delivery(order, Status.CONFIRMED, amount)
            first.then = lambda: self._sender.send(stale)
        self._sender.send(first)
        if Fault.DUPLICATE_CALLBACK in faults:
            copies = int(faults.value(Fault.DUPLICATE_CALLBACK, self._config.duplicate_callbacks))
            for _ in range(copies - 1):
                self._sender.send(Delivery(order, status, amount, retried=False))
        if Fault.CONTRADICT in faults:
            other = Delivery(order, Status.FAILED, amount)
            self._scheduler.after(self._config.contradict_after, lambda: self._sender.send(other))
