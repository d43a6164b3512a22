"""From queued to sent, past everything that may be in the way: brakes, limits, caps."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from shared.domain import lifecycle
from shared.domain.payout import PayoutState, Status, Transition
from worker.context import Context
from worker.jobs.submission import submit_claimed
from worker.send_guard.interface import Defer, Reject

_CAP_WINDOW = timedelta(hours=24)
_PATIENCE = timedelta(seconds=5)


def submit_queued(ctx: Context, payout: PayoutState, claim_id: str) -> PayoutState:
    """Claim a queued payout and send it, or leave it as the gate says; how it then stands.

    Only a payout that is still due when it was due as `payout` was read is touched: whoever moved
    it meanwhile has it now.
    """
    verdict = ctx.send_guard.look(payout, patience=_PATIENCE)
    if isinstance(verdict, Defer | Reject):
        return _leave(ctx, payout, verdict)
    standing = _claim(ctx, payout, claim_id)
    if standing.status is Status.SUBMITTING and standing.claim_id == claim_id:
        return submit_claimed(ctx, standing)
    return standing


def _leave(ctx: Context, payout: PayoutState, verdict: Defer | Reject) -> PayoutState:
    now = ctx.clock()

    def decide(fresh: PayoutState) -> Transition | None:
        if fresh.due_at != payout.due_at:
            return None
        if isinstance(verdict, Reject):
            return lifecycle.on_outside_limit(fresh, verdict.words, now=now)
        return lifecycle.defer(fresh, until=verdict.until)

    return ctx.store.update(payout.id, decide) or payout


def _claim(ctx: Context, payout: PayoutState, claim_id: str) -> PayoutState:
    now = ctx.clock()

    def decide(fresh: PayoutState, sent_today: Decimal = Decimal(0)) -> Transition | None:
        if fresh.due_at != payout.due_at:
            return None
        return lifecycle.claim_for_submission(
            fresh, claim_id=claim_id, now=now, policy=ctx.policy, sent_today=sent_today
        )

    if payout.currency in ctx.policy.cap_per_day:
        found = ctx.store.update_within_cap(payout, now - _CAP_WINDOW, decide)
    else:
        found = ctx.store.update(payout.id, decide)
    return found or payout
