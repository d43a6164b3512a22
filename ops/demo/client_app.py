"""The requesting app of the demo: it requests payouts with plain Celery, and gets the outcomes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from celery import Celery
from kombu import Connection, Consumer, Queue

from ops.demo.scenario import Planned

_OUTCOME_TASK, _OUTCOME_QUEUE = "shop.payout_outcome", "shop"


class ClientApp:
    """Sends `payouts.request` messages and receives the outcomes on its own queue."""

    def __init__(self, celery: Celery, connection: Connection) -> None:
        self._celery = celery
        self._connection = connection
        self.outcomes: dict[str, list[str]] = defaultdict(list)
        """The final statuses of the outcome messages, by order number."""

    def request(self, planned: Sequence[Planned]) -> None:
        """Request the payouts."""
        for payout in planned:
            kwargs = {
                "merchant_order_no": payout.merchant_order_no,
                "amount": payout.amount,
                "currency": "USD",
                "channel_code": "11",
                "account_no": payout.account_no,
                "remark": payout.remark,
                "notify": {"task": _OUTCOME_TASK, "queue": _OUTCOME_QUEUE},
            }
            self._celery.send_task("payouts.request", kwargs=kwargs, queue="payouts")

    def receive(self, seconds: float) -> None:
        """Receive outcome messages for this long."""
        until = time.monotonic() + seconds
        with suppress(TimeoutError):
            while (left := until - time.monotonic()) > 0:
                self._connection.drain_events(timeout=left)

    def on_outcome(self, body: Any, message: Any) -> None:
        """Note the outcome of one message."""
        outcome = body[1]
        self.outcomes[outcome["merchant_order_no"]].append(outcome["status"])
        message.ack()


@contextmanager
def connected(redis_url: str) -> Iterator[ClientApp]:
    """The app, connected to the broker."""
    with (
        Celery("shop", broker=redis_url, set_as_current=False) as celery,
        Connection(redis_url) as connection,
    ):
        app = ClientApp(celery, connection)
        queue = Queue(_OUTCOME_QUEUE, routing_key=_OUTCOME_QUEUE)
        with Consumer(connection, [queue], callbacks=[app.on_outcome], accept=["json"]):
            yield app
