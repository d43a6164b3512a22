"""`payouts.submit`: sends a queued payout."""

from __future__ import annotations

from datetime import datetime

from shared.domain.payout import Status
from worker.context import Context
from worker.jobs.submission import submit_claimed, submit_queued


def submit(ctx: Context, payout_id: int, lease: datetime | None, claim_id: str) -> str | None:
    """Send the payout if it is still queued and nothing holds it back; returns its status.

    Args:
        lease: the claim of the sweep that published the message, which does nothing once the lease
            is over. None for a message that comes from no sweep.
        claim_id: names this execution.
    """
    found = ctx.store.get_claimed([payout_id], None)
    if not found:
        return None
    payout = found[0]
    if payout.status is Status.SUBMITTING and payout.claim_id == claim_id:
        # The database did not confirm our commit of the claim, but it was made.
        payout = submit_claimed(ctx, payout, ctx.send_guard.recover_permit(payout))
    elif payout.status is Status.QUEUED and lease in {None, payout.due_at}:
        payout = submit_queued(ctx, payout, claim_id)
    return payout.status.value
