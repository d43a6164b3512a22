"""`payouts.query`: queries a batch of payouts at EPAY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from shared.domain import reports, scheduling
from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState, Transition
from worker.context import Context


def query(ctx: Context, payout_ids: Sequence[int], lease: datetime | None) -> int:
    """Query the payouts that are still under the sweep's claim; returns how many were answered.

    The requests run concurrently. Answers that arrive together are recorded in one commit. No
    database connection is held meanwhile (law 9).
    """
    orders = {
        claimed.id: claimed.merchant_order_no
        for claimed in ctx.store.get_claimed_keys(payout_ids, lease)
        if claimed.status in scheduling.POLLED
    }
    asked_at = ctx.clock()
    answered = 0
    for wave in ctx.query_many(orders, ctx.policy.lease) if orders else ():
        record(ctx, dict(wave), asked_at, orders)
        answered += len(wave)
    return answered


def record(
    ctx: Context,
    answers: dict[int, OrderAnswer],
    asked_at: datetime,
    orders: Mapping[int, str],
) -> list[PayoutState]:
    """Record EPAY's answers, by payout id, to queries of `orders` that began at `asked_at`."""
    now = ctx.clock()

    def decide(payout: PayoutState) -> Transition | None:
        if payout.merchant_order_no != orders[payout.id]:
            return None  # the database went back in time, and another payout has the id now
        return reports.on_query_answer(
            payout,
            answers[payout.id],
            asked_at=asked_at,
            now=now,
            policy=ctx.policy,
            jitter=ctx.jitter(),
        )

    return ctx.store.update_many(list(answers), decide)
