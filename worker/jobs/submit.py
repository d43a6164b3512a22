"""`payouts.submit`: a queued payout is to be sent."""

from __future__ import annotations

from datetime import datetime

from shared.domain.payout import Status
from worker.context import Context
from worker.jobs.starting import submit_queued
from worker.jobs.submission import submit_claimed


def submit(ctx: Context, payout_id: int, lease: datetime | None, claim_id: str) -> str | None:
    """Send the payout, if it still is queued and nothing is in the way; the status it ends in.

    Args:
        lease: the claim of the sweep that asked for this; a message that outlived it does nothing.
            None for a hint that comes from no sweep.
        claim_id: names this execution.
    """
    found = ctx.store.get_claimed([payout_id], None)
    if not found:
        return None
    payout = found[0]
    if payout.status is Status.SUBMITTING and payout.claim_id == claim_id:
        payout = submit_claimed(ctx, payout)  # the reply to our own commit was lost
    elif payout.status is Status.QUEUED and lease in {None, payout.due_at}:
        payout = submit_queued(ctx, payout, claim_id)
    return payout.status.value
