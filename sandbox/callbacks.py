"""Posting callbacks to the merchant, again and again until the reply is `success` (section 5)."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from http import HTTPStatus

import requests
from requests.adapters import HTTPAdapter

from sandbox.envelopes import callback_fields, spoiled
from sandbox.ledger import OrderBook
from sandbox.orders import Order
from sandbox.scheduler import Scheduler
from sandbox.settings import SandboxConfig

RETRY_SECONDS = (10, 30, *range(60, 601, 60), 1200, 1800, 3600, 7200)
"""EPAY's 16 retries, taken as gaps between attempts."""


@dataclass(slots=True)
class Delivery:
    """One callback under way: what it says, and how often it was tried."""

    order: Order
    status: str
    amount: Decimal
    wrong_signatures: float = 0
    """So many first attempts bear a wrong signature."""
    retried: bool = True
    """Whether it is sent again when the reply is not `success`."""
    followed_by: Delivery | None = None
    """Sent after the first attempt, whatever its reply."""
    tries: int = 0


class CallbackSender:
    """A small pool of threads that post callbacks, and the retry schedule."""

    def __init__(self, config: SandboxConfig, book: OrderBook, scheduler: Scheduler) -> None:
        self._config = config
        self._book = book
        self._scheduler = scheduler
        self._pool = ThreadPoolExecutor(config.callback_workers, "sandbox-callback")
        self._session = requests.Session()
        # Neither proxies nor .netrc of the machine may come between the sandbox and the merchant.
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=config.callback_workers))

    def send(self, delivery: Delivery) -> None:
        """Post as soon as a thread of the pool is free."""
        with contextlib.suppress(RuntimeError):  # the pool is shut down: the sandbox is stopping
            self._pool.submit(self._attempt, delivery)

    def stop(self) -> None:
        """Let the posts under way end, and start no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._session.close()

    def _attempt(self, delivery: Delivery) -> None:
        acknowledged = self._post(delivery)
        if delivery.followed_by and delivery.tries == 1:
            self.send(delivery.followed_by)
        if acknowledged:
            self._book.count(delivery.order, "callbacks_acknowledged")
        elif delivery.retried and delivery.tries <= len(RETRY_SECONDS):
            gap = RETRY_SECONDS[delivery.tries - 1] * self._config.callback_scale
            self._scheduler.after(gap, partial(self.send, delivery))

    def _post(self, delivery: Delivery) -> bool:
        delivery.tries += 1
        order = delivery.order
        fields = callback_fields(self._config, order, delivery.status, delivery.amount)
        if delivery.tries <= delivery.wrong_signatures:
            fields["sign"] = spoiled(fields["sign"])
        self._book.count(order, "callbacks_sent")
        try:
            reply = self._session.post(
                order.notify_url or "",
                data=fields,
                timeout=self._config.callback_timeout,
                allow_redirects=False,
            )
        except requests.RequestException:
            return False
        return reply.status_code == HTTPStatus.OK and reply.text.strip() == "success"
