"""What becomes of an accepted order as time goes by."""

from __future__ import annotations

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
        self._held_callbacks: dict[Order, bool] = {}
        """The orders whose callback waits for a query to see the end, each with True."""

    def begin(self, order: Order) -> None:
        """Set a new order on its way: status 1, after `pay_after` its end, or a detour."""
        at = self._config.pay_after
        for fault, status in _DETOURS.items():
            if fault in order.faults:
                self._scheduler.after(at, partial(self._reach, order, status))
                at += order.faults[fault]
        ends = (status for fault, status in _ENDS.items() if fault in order.faults)
        self._scheduler.after(at, partial(self._reach, order, next(ends, Status.PAID)))

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
        if not self._book.move(order, status) or status not in FINAL:
            return
        if not order.notify_url or Fault.NO_CALLBACK in order.faults:
            return
        if Fault.LATE_CALLBACK in order.faults:
            self._held_callbacks[order] = True
            longest = order.faults[Fault.LATE_CALLBACK]
            self._scheduler.after(longest, partial(self._release, order))
        else:
            self._send(order, status)

    def _release(self, order: Order) -> None:
        if self._held_callbacks.pop(order, False):
            self._send(order, order.status)

    def _send(self, order: Order, status: str) -> None:
        faults = order.faults
        amount = order.amount + 1 if Fault.WRONG_AMOUNT_CALLBACK in faults else order.amount
        first = Delivery(order, status, amount)
        first.wrong_signatures = faults.get(Fault.WRONG_CALLBACK_SIGNATURE, 0)
        if Fault.OUT_OF_ORDER_CALLBACK in faults:
            first.followed_by = Delivery(order, Status.CONFIRMED, amount)
        self._sender.send(first)
        for _ in range(int(faults.get(Fault.DUPLICATE_CALLBACK, 1)) - 1):
            self._sender.send(Delivery(order, status, amount, retried=False))
        if Fault.CONTRADICT in faults:
            other = Delivery(order, Status.FAILED, amount)
            self._scheduler.after(self._config.contradict_after, partial(self._sender.send, other))
