"""The requesting app of the demo: it requests payouts with plain Celery, and gets the outcomes."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu import Connection, Consumer, Queue

from ops.demo.scenario import Planned

OUTCOME_TASK = "shop.payout_outcome"
OUTCOME_QUEUE = "shop"


class ClientApp:
    """Sends `payouts.request` messages and listens on its own queue for the outcomes."""

    def __init__(self, redis_url: str) -> None:
        self._celery = Celery("shop", broker=redis_url, set_as_current=False)
        self._redis_url = redis_url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="outcomes", daemon=True)
        self.outcomes: dict[str, list[str]] = defaultdict(list)
        """The final statuses of the outcome messages, by order number."""

    def start(self) -> None:
        """Start to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and close the connection."""
        self._stop.set()
        self._thread.join(timeout=5)
        self._celery.close()

    def request(self, planned: Sequence[Planned]) -> None:
        """Request the payouts."""
        for payout in planned:
            kwargs: dict[str, Any] = {
                "merchant_order_no": payout.merchant_order_no,
                "amount": payout.amount,
                "currency": "USD",
                "channel_code": "11",
                "account_no": payout.account_no,
                "notify": {"task": OUTCOME_TASK, "queue": OUTCOME_QUEUE},
            }
            if payout.remark:
                kwargs["remark"] = payout.remark
            self._celery.send_task("payouts.request", kwargs=kwargs, queue="payouts")

    def _listen(self) -> None:
        with Connection(self._redis_url) as connection:
            queue = Queue(OUTCOME_QUEUE, routing_key=OUTCOME_QUEUE)
            with Consumer(connection, [queue], callbacks=[self._receive], accept=["json"]):
                while not self._stop.is_set():
                    try:
                        connection.drain_events(timeout=0.5)
                    except TimeoutError:
                        continue

    def _receive(self, body: Any, message: Any) -> None:
        outcome = body[1]
        self.outcomes[outcome["merchant_order_no"]].append(outcome["status"])
        message.ack()
