"""`payouts.submit`: a queued payout is to be sent."""

from __future__ import annotations

from datetime import datetime

from shared import lifecycle
from shared.state import PayoutState, Status, Step
from worker.context import Context
from worker.jobs.sending import send


def submit(ctx: Context, payout_id: int, lease: datetime | None, claim_id: str) -> str | None:
    """Claim the payout and send it, if it still is queued; the status it ends in.

    Args:
        lease: the claim of the sweep that asked for this; a message that outlived it does nothing.
            None for a hint that comes from no sweep.
        claim_id: names this execution.
    """
    now = ctx.clock()

    def decide(payout: PayoutState) -> Step | None:
        if lease is not None and payout.due_at != lease:
            return None
        return lifecycle.begin_send(payout, claim_id=claim_id, now=now, policy=ctx.policy)

    payout = ctx.store.change(payout_id, decide)
    if payout is None:
        return None
    if payout.status is Status.SUBMITTING and payout.claim_id == claim_id:
        payout = send(ctx, payout)
    return payout.status.value
