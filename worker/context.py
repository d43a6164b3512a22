"""What a task body works with: the store, the gateway, the broker, the clock. All replaceable."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from shared.clock import utcnow
from shared.domain.gateway import CreateOrder, OrderAnswer
from shared.domain.notifications import Message
from shared.domain.policy import Policy
from shared.storage.payout_store import PayoutStore
from worker.send_guard.interface import AllowAll, SendGuard

T = TypeVar("T")


class Gateway(Protocol):
    """EPAY, as far as a payout's life needs it."""

    def create(self, order: CreateOrder) -> OrderAnswer:
        """Send the create request; whatever happens is the answer."""
        ...

    def query(self, merchant_order_no: str) -> OrderAnswer:
        """Ask for an order; whatever happens is the answer."""
        ...


class Publish(Protocol):
    """Puts one of our own tasks on the broker. Raises when the broker is away."""

    def __call__(self, task: str, kwargs: Mapping[str, Any]) -> None:
        """Publish `task`, on its own queue."""
        ...


Answers = Iterator[list[tuple[int, OrderAnswer]]]


class QueryMany(Protocol):
    """Asks EPAY for several orders at once."""

    def __call__(self, orders: Mapping[int, str], patience: timedelta) -> Answers:
        """Answers by payout id, in waves as they come; without what took longer than `patience`."""
        ...


class RetriesDatabase(Protocol):
    """Runs a piece of work again while PostgreSQL is away."""

    def run(self, body: Callable[[], T]) -> T:
        """Run `body` until it works. Raises DatabaseAway when the patience is over."""
        ...


@dataclass(frozen=True)
class Context:
    """Everything a task body touches outside of itself."""

    account: str
    policy: Policy
    total_timeout: timedelta
    """No request to EPAY lasts longer."""
    store: PayoutStore
    gateway: Gateway
    query_many: QueryMany
    publish: Publish
    publish_outcome: Callable[[Message], None]
    """Sends a message to an asking app. Raises when the broker is away."""
    database_retry: RetriesDatabase
    """Waits for PostgreSQL in place."""
    send_guard: SendGuard = field(default_factory=AllowAll)
    """What may keep a payout from being sent just now."""
    sweep_batch: int = 500
    query_batch: int = 32
    books_after: timedelta = timedelta(hours=6)
    """How long a day has been over when its books are compared."""
    books_sample: int | None = None
    """At most so many payouts of a day; None: all."""
    clock: Callable[[], datetime] = utcnow
    jitter: Callable[[], float] = field(default=lambda: random.uniform(-1, 1))  # noqa: S311

    def with_database_retry(self, body: Callable[[], T]) -> T:
        """Run `body`, which must be safe to run again from its start, until PostgreSQL is there.

        Raises:
            DatabaseAway: the patience is over.
        """
        return self.database_retry.run(body)


class QueryPool:
    """`AskMany` on a thread pool that the whole process shares."""

    _WAVE_SECONDS = 1.0

    def __init__(
        self, gateway: Gateway, workers: int, turn: Callable[[], bool] = lambda: True
    ) -> None:
        """`turn` waits until a query may be made; False: not now, so that it goes unanswered."""
        self._gateway = gateway
        self._turn = turn
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="query")

    def __call__(self, orders: Mapping[int, str], patience: timedelta) -> Answers:
        """See `AskMany`."""
        pending: dict[Future[OrderAnswer | None], int] = {
            self._pool.submit(self._ask, order_no): payout_id
            for payout_id, order_no in orders.items()
        }
        waves = max(1, int(patience.total_seconds() / self._WAVE_SECONDS))
        for _ in range(waves):
            done, _rest = wait(pending, timeout=self._WAVE_SECONDS)
            came = [(pending.pop(future), future.result()) for future in done]
            if wave := [(payout_id, answer) for payout_id, answer in came if answer is not None]:
                yield wave
            if not pending:
                return
        for future in pending:
            future.cancel()

    def _ask(self, order_no: str) -> OrderAnswer | None:
        return self._gateway.query(order_no) if self._turn() else None

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def chunked(ids: Sequence[int], size: int) -> Iterator[list[int]]:
    """The ids in lists of at most `size`."""
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])
