"""`payouts.query`: queries a batch of payouts at EPAY."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from shared.domain import reports, scheduling
from shared.domain.accounts import ConfiguredAccount
from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState, Transition
from worker.context import Context


def query(ctx: Context, payout_ids: Sequence[int], lease: datetime | None) -> int:
    """Query the payouts that are still under the sweep's claim; returns how many were answered.

    The requests run concurrently. Answers that arrive together are recorded in one commit. No
    database connection is held meanwhile (law 9).
    """
    polled = [
        claimed
        for claimed in ctx.store.get_claimed_keys(payout_ids, lease)
        if claimed.status in scheduling.POLLED
    ]
    accounts = ctx.policy.accounts
    elsewhere = [
        claimed.id
        for claimed in polled
        if accounts and accounts.missing(claimed.epay_account, claimed.epay_gateway)
    ]
    _hold_elsewhere(ctx, elsewhere)
    homes: defaultdict[ConfiguredAccount | None, dict[int, str]] = defaultdict(dict)
    for one in polled:
        if one.id not in elsewhere:
            home = ctx.accounts.find(one.epay_account, one.epay_gateway)
            homes[home][one.id] = one.merchant_order_no
    answered, ends_at = 0, ctx.clock() + ctx.policy.lease
    for home, orders in homes.items():
        asked_at = ctx.clock()
        for wave in ctx.access(home).query_many(orders, ends_at - asked_at):
            record(ctx, dict(wave), asked_at)
            answered += len(wave)
    return answered


def _hold_elsewhere(ctx: Context, payout_ids: Sequence[int]) -> None:
    """Hold payouts whose account is not configured here; EPAY is not asked about them (law 10)."""
    now = ctx.clock()

    def decide(payout: PayoutState) -> Transition | None:
        return scheduling.hold_if_not_configured(payout, now=now, policy=ctx.policy)

    if payout_ids:
        ctx.store.update_many(payout_ids, decide)


def record(ctx: Context, answers: dict[int, OrderAnswer], asked_at: datetime) -> list[PayoutState]:
    """Record EPAY's answers, by payout id, to queries that began at `asked_at`."""
    now = ctx.clock()

    def decide(payout: PayoutState) -> Transition | None:
        return reports.on_query_answer(
            payout,
            answers[payout.id],
            asked_at=asked_at,
            now=now,
            policy=ctx.policy_of(payout),
            jitter=ctx.jitter(),
        )

    return ctx.store.update_many(list(answers), decide)
