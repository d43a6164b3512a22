"""`payouts.sweep`: claims the payouts that are due and dispatches them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import structlog

from shared.contract import TASK_QUERY, TASK_SUBMIT
from shared.domain import lifecycle, scheduling
from shared.domain.payout import PayoutState, Status, Transition
from worker.context import Context, chunked

log = structlog.get_logger(__name__)


def sweep(ctx: Context) -> dict[str, int]:
    """Claim one bounded batch of due payouts and dispatch it; returns how many of each kind.

    If a dispatched message is lost, the payout is due again when the claim's lease expires. While a
    submit waits in the broker for longer than its lease no more are dispatched: what waits stays
    valid, for nobody claims its payout again.
    """
    now = ctx.clock()
    is_checked = _watch_database(ctx, now)

    def expire(payout: PayoutState) -> Transition | None:
        return lifecycle.on_lease_expired(payout, now=now)

    expired = ctx.store.expire_leases(now, ctx.sweep_batch, expire)
    ctx.store.flag_overdue(
        now - ctx.policy.review_after,
        ctx.sweep_batch,
        lambda payout: scheduling.on_overdue(payout, now=now, policy=ctx.policy),
    )
    until = now + ctx.policy.lease
    oldest = ctx.oldest_submit()
    are_taken = is_checked and (oldest is None or oldest > now)
    due = ctx.store.claim_due(now, until, ctx.sweep_batch, ctx.sweep_spacing, with_queued=are_taken)
    lease = until.isoformat()
    queued = [claim.id for claim in due if claim.status is Status.QUEUED]
    polled = [claim.id for claim in due if claim.status is not Status.QUEUED]
    for payout_id in queued:
        ctx.publish(TASK_SUBMIT, {"payout_id": payout_id, "lease": lease})
    for batch in chunked(polled, ctx.query_batch):
        ctx.publish(TASK_QUERY, {"payout_ids": batch, "lease": lease})
    if any(ctx.refusal_pause.of(one.account).claim_probe(now) for one in ctx.accounts.accounts):
        ctx.publish(TASK_QUERY, {"payout_ids": [], "lease": lease})
    return dict(Counter(lapsed=len(expired), submit=len(queued), query=len(polled)))


def _watch_database(ctx: Context, now: datetime) -> bool:
    """Whether the database was checked; if not, no submit is dispatched, and all else goes on."""
    try:
        ctx.watch_database(now)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must cost only itself (law 15)
        log.error("database_not_checked", error=type(error).__name__)  # noqa: TRY400
        return False
    return True
