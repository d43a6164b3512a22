"""From queued to sent, past everything that may be in the way: brakes, limits, caps."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from shared.domain import lifecycle
from shared.domain.payout import PayoutState, Status, Step
from worker.context import Context
from worker.jobs.submission import send
from worker.send_guard.interface import Outside, Wait

_CAP_WINDOW = timedelta(hours=24)
_PATIENCE = timedelta(seconds=5)


def start(ctx: Context, payout: PayoutState, claim_id: str) -> PayoutState:
    """Claim a queued payout and send it, or leave it as the gate says; how it then stands.

    Only a payout that is still due when it was due as `payout` was read is touched: whoever moved
    it meanwhile has it now.
    """
    verdict = ctx.gate.look(payout, patience=_PATIENCE)
    if isinstance(verdict, Wait | Outside):
        return _leave(ctx, payout, verdict)
    standing = _claim(ctx, payout, claim_id)
    if standing.status is Status.SUBMITTING and standing.claim_id == claim_id:
        return send(ctx, standing)
    return standing


def _leave(ctx: Context, payout: PayoutState, verdict: Wait | Outside) -> PayoutState:
    now = ctx.clock()

    def decide(fresh: PayoutState) -> Step | None:
        if fresh.due_at != payout.due_at:
            return None
        if isinstance(verdict, Outside):
            return lifecycle.on_outside_limit(fresh, verdict.words, now=now)
        return lifecycle.put_off(fresh, until=verdict.until)

    return ctx.store.change(payout.id, decide) or payout


def _claim(ctx: Context, payout: PayoutState, claim_id: str) -> PayoutState:
    now = ctx.clock()

    def decide(fresh: PayoutState, sent_today: Decimal = Decimal(0)) -> Step | None:
        if fresh.due_at != payout.due_at:
            return None
        return lifecycle.begin_send(
            fresh, claim_id=claim_id, now=now, policy=ctx.policy, sent_today=sent_today
        )

    if payout.currency in ctx.policy.cap_per_day:
        found = ctx.store.change_within_cap(payout, now - _CAP_WINDOW, decide)
    else:
        found = ctx.store.change(payout.id, decide)
    return found or payout
