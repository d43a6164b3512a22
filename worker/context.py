"""The dependencies of a task body: store, gateway, broker, clock. Tests replace each of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.clock import utcnow
from shared.domain.accounts import ConfiguredAccount, ConfiguredAccounts
from shared.domain.gateway import OrderAnswer
from shared.domain.notifications import Message
from shared.domain.payout import PayoutState
from shared.domain.policy import Policy
from shared.domain.witness import Doubt
from shared.epay.client import EpayClient
from shared.storage.pauses import RefusalPause
from shared.storage.payout_store import PayoutStore
from worker.database_retry import DatabaseRetry
from worker.send_guard.guard import SendGuard

Answers = Iterator[list[tuple[int, OrderAnswer]]]


@dataclass(frozen=True)
class AccountAccess:
    """How payouts of one account are sent, queried and judged."""

    gateway: EpayClient
    query_many: Callable[[Mapping[int, str], timedelta], Answers]
    """Queries orders at EPAY concurrently; see `QueryPool.__call__`."""
    policy: Policy


@dataclass(frozen=True)
class Context:
    """Everything outside of itself that a task body uses."""

    account: str
    policy: Policy
    total_timeout: timedelta
    """No request to EPAY lasts longer."""
    store: PayoutStore
    gateway: EpayClient
    query_many: Callable[[Mapping[int, str], timedelta], Answers]
    """Queries orders at EPAY concurrently; see `QueryPool.__call__`."""
    publish: Callable[[str, Mapping[str, Any]], None]
    """Publishes one of our own tasks with its kwargs. Raises while the broker is unavailable."""
    publish_outcome: Callable[[Message], None]
    """Sends a message to a requesting app. Raises while the broker is unavailable."""
    database_retry: DatabaseRetry
    """Waits in place while PostgreSQL is unavailable."""
    send_guard: SendGuard
    """Decides whether a payout may be sent now."""
    refusal_pause: RefusalPause
    """Stops new sends while EPAY refuses an order that it must know (law 12)."""
    others: Mapping[ConfiguredAccount, AccountAccess] = field(default_factory=dict)
    """The accounts beside the one of `gateway`, `query_many` and `policy` (law 10)."""
    witness: Callable[[PayoutState], Doubt | None] = lambda _: None
    """Marks a claimed payout as sent; says whether it may have been sent before (law 11)."""
    find_forgotten_send: Callable[[PayoutState], Doubt | None] = lambda _: None
    """Says whether a payout that was never claimed may have been sent before (law 11)."""
    watch_database: Callable[[datetime], None] = lambda _: None
    """Checks that the database did not go back in time, once a sweep (law 11)."""
    oldest_submit: Callable[[], datetime | None] = lambda: None
    """The lease of the `payouts.submit` message that waits longest in the broker, if one waits."""
    sweep_batch: int = 500
    sweep_spacing: timedelta = timedelta(0)
    """A tick that comes sooner after the last sweep claims nothing; by PostgreSQL's clock."""
    query_batch: int = 32
    books_after: timedelta = timedelta(hours=6)
    """How long after its end a day is reconciled."""
    books_sample: int | None = None
    """How many payouts of a day are reconciled at most; None: all."""
    clock: Callable[[], datetime] = utcnow
    jitter: Callable[[], float] = field(default=lambda: random.uniform(-1, 1))  # noqa: S311

    @property
    def accounts(self) -> ConfiguredAccounts:
        """The accounts that this process serves (law 10)."""
        return self.policy.accounts or ConfiguredAccounts.one(self.account)

    def access(self, account: ConfiguredAccount | None) -> AccountAccess:
        """How payouts of an account are sent and queried; None: the account of `gateway`."""
        own = AccountAccess(self.gateway, self.query_many, self.policy)
        return own if account is None else self.others.get(account, own)

    def access_of(self, payout: PayoutState) -> AccountAccess:
        """How a payout is sent and queried; ask `Policy.missing_account` before."""
        return self.access(self.accounts.find(payout.epay_account, payout.epay_gateway))

    def policy_of(self, payout: PayoutState) -> Policy:
        """The policy of a payout's account."""
        return self.access_of(payout).policy if self.others else self.policy


class QueryPool:
    """Queries of several orders at once, on a thread pool that the whole process shares."""

    _WAVE_SECONDS = 1.0

    def __init__(
        self, gateway: EpayClient, workers: int, acquire: Callable[[], bool] = lambda: True
    ) -> None:
        """`acquire` waits for the rate limit; False: no slot is free, the query is not made."""
        self._gateway = gateway
        self._acquire = acquire
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="query")

    def __call__(self, orders: Mapping[int, str], max_wait: timedelta) -> Answers:
        """Yield answers by payout id, in batches; none that takes longer than `max_wait`.

        Args:
            orders: payout id -> order number.
        """
        pending: dict[Future[OrderAnswer | None], int] = {
            self._pool.submit(self._ask, order_no): payout_id
            for payout_id, order_no in orders.items()
        }
        waves = max(1, int(max_wait.total_seconds() / self._WAVE_SECONDS))
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
        return self._gateway.query(order_no) if self._acquire() else None

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def chunked(ids: Sequence[int], size: int) -> Iterator[list[int]]:
    """Split the ids into lists of at most `size`."""
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])
