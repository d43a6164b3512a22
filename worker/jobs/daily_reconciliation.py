"""`payouts.books`: reconciles a day's payouts with EPAY, a part in each tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

import structlog

from shared.domain import daily_reconciliation as comparing
from shared.domain.accounts import ConfiguredAccount
from shared.domain.daily_reconciliation import Comparison
from shared.domain.gateway import OrderAnswer, OutcomeUnknown
from shared.domain.payout import PayoutState, Transition
from shared.storage.daily_reconciliation import DayProgress, ReconciliationStore
from shared.storage.query_answers import record_answers
from worker.context import AccountAccess, Context, chunked
from worker.jobs.query import control_of

_BUDGET = timedelta(seconds=8)
"""After this a tick starts no other chunk; the next tick continues."""
_ORDERS_READ = 2_000
_SHARE = 2
"""Reconciliation uses one of so many parts of the concurrent queries; open payouts the rest."""
_AWAY_PAUSE = timedelta(seconds=60)
_MAX_OUTAGE = timedelta(days=1)
"""How long a day waits for EPAY to answer; then its payouts are closed as unanswered."""
_NO_ANSWER = OutcomeUnknown("no answer in time")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Tick:
    ctx: Context
    store: ReconciliationStore
    began: datetime
    access: AccountAccess


def reconcile_day(ctx: Context) -> int:
    """Reconcile the next payouts of each account's oldest unfinished day; returns how many.

    The cursor moves by compare-and-set and a difference is recorded once, so a chunk that runs
    twice, in two ticks or after a crash, changes nothing.
    """
    return sum(_reconcile_account(ctx, account) for account in ctx.accounts.accounts)


def _reconcile_account(ctx: Context, account: ConfiguredAccount) -> int:
    began = ctx.clock()
    store = ReconciliationStore(ctx.store.engine, account)
    day = store.open_day(began, ctx.books_after)
    if day is None:
        return 0
    until = began + _BUDGET + ctx.policy.lease
    if not store.claim(began, until):
        return 0
    tick = _Tick(ctx, store, began, ctx.access(account))
    progress: DayProgress | None = store.begin(day, began)
    compared, next_at = 0, began
    while progress is not None and progress.finished_at is None:
        before = progress
        progress = _reconcile_page(tick, progress)
        compared += 0 if progress is None else _count(progress) - _count(before)
        if progress == before:  # EPAY is unavailable
            next_at = ctx.clock() + _AWAY_PAUSE
            break
        if ctx.clock() - began >= _BUDGET:
            break
    store.release(until, next_at)
    return compared


def _reconcile_page(tick: _Tick, progress: DayProgress) -> DayProgress | None:
    """Reconcile one page of orders, or close the day.

    Returns:
        The new progress; unchanged while EPAY is unavailable; None if another tick was faster.
    """
    ctx = tick.ctx
    orders = tick.store.orders(progress.day, progress.last_id, _ORDERS_READ, ctx.books_sample)
    if not orders:
        return _close(tick, progress)
    for ids in chunked(list(orders), max(1, ctx.query_batch // _SHARE)):
        before = progress
        found = _reconcile_chunk(
            tick, progress, {payout_id: orders[payout_id] for payout_id in ids}
        )
        if found is None or found == before:
            return found
        progress = found
        if progress.last_id != ids[-1] or ctx.clock() - tick.began >= _BUDGET:
            break
    return progress


def _reconcile_chunk(
    tick: _Tick, progress: DayProgress, orders: Mapping[int, str]
) -> DayProgress | None:
    """Query, record, advance the cursor; no connection is held during the queries (law 9)."""
    ctx = tick.ctx
    asked_at = ctx.clock()
    answers: dict[int, OrderAnswer] = {}
    max_wait = max(ctx.total_timeout, ctx.policy.lease - _BUDGET)  # at most as long as any task
    for wave in tick.access.query_many(orders, max_wait):
        answers.update(wave)
    if not any(map(comparing.epay_answered, answers.values())):
        if ctx.clock() - progress.started_at < _MAX_OUTAGE:
            return progress
        answers = {payout_id: answers.get(payout_id, _NO_ANSWER) for payout_id in orders}
    ids = list(takewhile(answers.__contains__, orders))
    if not ids:
        return progress  # the first was not answered in time: the cursor cannot pass it
    verdicts = _record(tick, orders, {one: answers[one] for one in ids}, asked_at)
    counts = Counter(compared.verdict for compared in verdicts.values())
    return tick.store.advance(progress.day, progress.last_id, ids[-1], counts)


def _record(
    tick: _Tick,
    orders: Mapping[int, str],
    answers: Mapping[int, OrderAnswer],
    asked_at: datetime,
) -> dict[int, Comparison]:
    """Compare the answers with the current rows, and record differences."""
    ctx = tick.ctx
    control = control_of(ctx, tick.store.account, answers, asked_at)
    now = ctx.clock()
    found: dict[int, Comparison] = {}

    def decide(payout: PayoutState, answer: OrderAnswer) -> Transition | None:
        found[payout.id], transition = comparing.reconcile(
            payout,
            answer,
            asked_at=asked_at,
            now=now,
            policy=ctx.policy_of(payout),
            jitter=ctx.jitter(),
            control=control,
        )
        return transition

    record_answers(ctx.store, orders, answers, decide)
    return found


def _close(tick: _Tick, progress: DayProgress) -> DayProgress | None:
    closed = tick.store.finish(progress.day, progress.last_id, tick.ctx.clock())
    if closed is not None:
        tell = log.warning if closed.differing or closed.unanswered else log.info
        tell(
            "books_compared",
            day=closed.day.isoformat(),
            agreed=closed.agreed,
            differing=closed.differing,
            unanswered=closed.unanswered,
        )
    return closed


def _count(progress: DayProgress) -> int:
    return progress.agreed + progress.differing + progress.unanswered
