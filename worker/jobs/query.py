"""`payouts.query`: queries a batch of payouts at EPAY."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from shared.domain import holds, reports, scheduling, unresolved
from shared.domain.absence_proof import Control
from shared.domain.accounts import ConfiguredAccount
from shared.domain.gateway import OrderAnswer, Refused
from shared.domain.payout import PayoutState, Transition
from shared.storage.query_answers import ask_control, record_answers
from worker.context import Context

log = structlog.get_logger(__name__)


def query(ctx: Context, payout_ids: Sequence[int], lease: datetime | None) -> int:
    """Query the payouts that are still under the sweep's claim; returns how many were answered.

    The requests run concurrently. Answers that arrive together are recorded in one commit. No
    database connection is held meanwhile (law 9). Without any payout it only asks the control.
    """
    if not payout_ids:
        for account in ctx.accounts.accounts:
            check_control(ctx, account, ctx.clock(), ())
        return 0
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
    homes: defaultdict[ConfiguredAccount, dict[int, str]] = defaultdict(dict)
    for one in polled:
        if one.id not in elsewhere:
            home = ctx.accounts.find(one.epay_account, one.epay_gateway)
            homes[home or ctx.accounts.accounts[0]][one.id] = one.merchant_order_no
    answered, ends_at = 0, ctx.clock() + ctx.policy.lease
    for account, orders in homes.items():
        asked_at = ctx.clock()
        unasked = dict(orders)
        for wave in ctx.access(account).query_many(orders, ends_at - asked_at):
            record(ctx, account, dict(wave), asked_at, orders)
            answered += len(wave)
            for payout_id, _ in wave:
                unasked.pop(payout_id, None)
        _flag_unasked(ctx, list(unasked))
    return answered


def _flag_unasked(ctx: Context, payout_ids: Sequence[int]) -> None:
    """Flag unknown payouts that EPAY could not be asked about for too long; they stay due."""
    now = ctx.clock()

    def decide(payout: PayoutState) -> Transition | None:
        return unresolved.on_unasked(payout, now=now, policy=ctx.policy_of(payout))

    if payout_ids:
        ctx.store.update_many(payout_ids, decide)


def _hold_elsewhere(ctx: Context, payout_ids: Sequence[int]) -> None:
    """Hold payouts whose account is not configured here; EPAY is not asked about them (law 10)."""
    now = ctx.clock()

    def decide(payout: PayoutState) -> Transition | None:
        return holds.hold_if_not_configured(payout, now=now, policy=ctx.policy)

    if payout_ids:
        ctx.store.update_many(payout_ids, decide)


def record(
    ctx: Context,
    account: ConfiguredAccount,
    answers: dict[int, OrderAnswer],
    asked_at: datetime,
    orders: Mapping[int, str],
) -> list[PayoutState]:
    """Record EPAY's answers, by payout id, to queries of `orders` that began at `asked_at`."""
    control = control_of(ctx, account, answers, asked_at)
    now = ctx.clock()

    def decide(payout: PayoutState, answer: OrderAnswer) -> Transition | None:
        return reports.on_query_answer(
            payout,
            answer,
            asked_at=asked_at,
            now=now,
            policy=ctx.policy_of(payout),
            jitter=ctx.jitter(),
            control=control,
        )

    return record_answers(ctx.store, orders, answers, decide)


def control_of(
    ctx: Context,
    account: ConfiguredAccount,
    answers: Mapping[int, OrderAnswer],
    asked_at: datetime,
) -> Control:
    """The control of a wave of answers (law 12); it costs a query only if EPAY refused one."""
    refused = [one for one, answer in answers.items() if isinstance(answer, Refused)]
    return check_control(ctx, account, asked_at, refused) if refused else Control.MISSING


def check_control(
    ctx: Context, account: ConfiguredAccount, asked_at: datetime, without: Collection[int]
) -> Control:
    """Ask EPAY for an order that it must know, after the wave that began at `asked_at` (law 12).

    If EPAY refuses that one too, new sends pause until it shows it.

    Args:
        account: of the wave.
        without: the payouts of the wave that EPAY refused, which do not serve.
    """

    def ask(merchant_order_no: str) -> OrderAnswer | None:
        left = max(timedelta(0), asked_at + ctx.policy.lease - ctx.clock())
        waves = ctx.access(account).query_many({0: merchant_order_no}, left)
        return next((answer for wave in waves for _, answer in wave), None)

    policy = ctx.access(account).policy
    control, refusal = ask_control(ctx.store, account, ask, asked_at, policy, without)
    pause = ctx.refusal_pause.of(account.account)
    if control is Control.REFUSED and pause.begin(refusal, ctx.clock()):
        log.warning("sending_paused", reason="refused_by_epay", account=account.account)
    elif control is Control.PASSED and pause.end(ctx.clock()):
        log.info("sending_resumed", account=account.account)
    return control
