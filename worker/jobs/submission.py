"""Sending a claimed payout to EPAY and recording what came of it: laws 1, 2 and 9."""

from __future__ import annotations

from decimal import Decimal

import structlog

from shared.domain import lifecycle
from shared.domain.gateway import CreateOrder, NeverSent, OrderAnswer
from shared.domain.payout import PayoutState, Transition
from worker.context import Context
from worker.database_retry import DatabaseUnavailable

log = structlog.get_logger(__name__)


def submit_claimed(ctx: Context, payout: PayoutState) -> PayoutState:
    """Send a payout whose claim is on disk, and record the answer; the payout as it then stands.

    No connection to the database is held while the request is under way. From the moment that it
    may have left, nothing may run this again: an answer that cannot be recorded is given up, and
    the lease makes the payout unknown.
    """
    claim_id = payout.claim_id or ""
    answer = _create(ctx, payout)
    now, jitter = ctx.clock(), ctx.jitter()

    def decide(fresh: PayoutState) -> Transition:
        return lifecycle.on_create_answer(
            fresh, answer, claim_id=claim_id, now=now, policy=ctx.policy, jitter=jitter
        )

    def record() -> PayoutState | None:
        return ctx.store.apply(decide(payout)) or ctx.store.update(payout.id, decide)

    try:
        return ctx.with_database_retry(record) or payout
    except DatabaseUnavailable:
        log.error("answer_not_recorded", merchant_order_no=payout.merchant_order_no)  # noqa: TRY400
        return payout


def _create(ctx: Context, payout: PayoutState) -> OrderAnswer:
    """Send, unless a brake is on, or the request could outlive the lease.

    The gate learns from requests that were made alone, not from what we kept back ourselves.
    """
    if (brake := ctx.send_guard.in_the_way(payout)) is not None:
        return NeverSent(brake)
    if payout.due_at is None or ctx.clock() + ctx.total_timeout >= payout.due_at:
        return NeverSent("the lease was nearly over before anything was sent")
    answer = ctx.gateway.create(
        CreateOrder(
            merchant_order_no=payout.merchant_order_no,
            amount=decimal_text(payout.amount),
            currency=payout.currency,
            channel_code=payout.channel_code,
            account_no=payout.account_no,
            remark=payout.remark,
            extend_fields=payout.extend_fields,
        )
    )
    ctx.send_guard.note(answer)
    return answer


def decimal_text(amount: Decimal) -> str:
    """An amount as EPAY gets it: the same text at every send."""
    return f"{amount:.2f}"
