"""A requesting app with celery alone that asks durably: by receipt, again until it comes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from typing import Any

from celery import Celery
from kombu import Connection, Consumer, Queue

_OUTCOMES = "shop"
_AGAIN_SECONDS = 12.0
_TRANSPORT = {"socket_timeout": 3, "socket_connect_timeout": 3}
_FINAL = {"succeeded", "failed", "cancelled", "closed", "failed_fee_kept", "rejected"}


class DurableClient:
    """Asks for payouts at a steady rate; whatever was not answered is asked for again."""

    def __init__(self, redis_url: str, count: int, per_second: float) -> None:
        self._redis_url = redis_url
        self._orders = [f"chaos-{nth:05d}" for nth in range(count)]
        self._per_second = per_second
        self._celery = Celery("shop", broker=redis_url, set_as_current=False)
        self._celery.conf.broker_transport_options = _TRANSPORT
        self._stop = threading.Event()
        self._asked_at: dict[str, float] = {}
        self.receipts: set[str] = set()
        self.ends: dict[str, set[str]] = defaultdict(set)
        self.asked_again = 0
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._ask, self._listen)
        ]

    @property
    def orders(self) -> list[str]:
        return self._orders

    @property
    def all_asked(self) -> bool:
        return len(self._asked_at) == len(self._orders)

    @property
    def unanswered(self) -> int:
        return sum(1 for no in self._orders if no not in self.ends)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def _ask(self) -> None:
        fresh = iter(self._orders)
        while not self._stop.wait(1 / self._per_second):
            no = next(fresh, None) or self._overdue()
            if no is not None:
                self._send(no)

    def _overdue(self) -> str | None:
        """An order without an answer for too long: no receipt, or no end after everything."""
        now = time.monotonic()
        for no, asked_at in self._asked_at.items():
            if no not in self.ends and now - asked_at > _AGAIN_SECONDS:
                self.asked_again += 1
                return no
        return None

    def _send(self, no: str) -> None:
        self._asked_at[no] = time.monotonic()
        kwargs: dict[str, Any] = {
            "merchant_order_no": no,
            "amount": f"{int(no[-5:]) % 900 + 1}.25",
            "currency": "USD",
            "channel_code": "11",
            "account_no": f"U{no[-5:]}00",
            "notify": {"task": "shop.outcome", "queue": _OUTCOMES, "on": ["accepted", "final"]},
        }
        with contextlib.suppress(Exception):  # the broker is away: asked again later
            self._celery.send_task("payouts.request", kwargs=kwargs, queue="payouts", retry=False)

    def _listen(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(Exception):  # the broker is away: listen again
                self._drain()
            self._stop.wait(0.5)

    def _drain(self) -> None:
        with Connection(self._redis_url, transport_options=_TRANSPORT) as connection:
            queue = Queue(_OUTCOMES, routing_key=_OUTCOMES)
            with Consumer(connection, [queue], callbacks=[self._hear], accept=["json"]):
                while not self._stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        connection.drain_events(timeout=0.5)

    def _hear(self, body: Any, message: Any) -> None:
        outcome = body[1]
        no, status = outcome["merchant_order_no"], outcome["status"]
        self.receipts.add(no)
        if status in _FINAL:
            self.ends[no].add(status)
        message.ack()
