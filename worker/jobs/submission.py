"""Submitting a payout: check, claim, create request, recording of its answer (laws 1, 2 and 9)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import structlog

from shared.domain import holds, lifecycle
from shared.domain.gateway import CreateOrder, NeverSent, OrderAnswer
from shared.domain.payout import PayoutState, Status, Transition, UnreadableAccount
from shared.domain.witness import Doubt
from worker.context import Context
from worker.database_retry import DatabaseUnavailable
from worker.send_guard.permit import Defer, Permit, Reject

log = structlog.get_logger(__name__)

_CAP_WINDOW = timedelta(hours=24)
_MAX_WAIT = timedelta(seconds=5)


def submit_queued(ctx: Context, payout: PayoutState, claim_id: str) -> PayoutState:
    """Claim a queued payout and send it, or do as the send guard says; returns its new state.

    The payout is touched only while its due_at is that of `payout`: otherwise another task has it.
    """
    if ctx.policy.missing_account(payout):
        return _hold_if_not_configured(ctx, payout)
    checked = ctx.send_guard.check(payout, max_wait=_MAX_WAIT)
    if isinstance(checked, Reject) and ctx.find_forgotten_send(payout) is not None:
        return _claim_in_doubt(ctx, payout, claim_id, checked)
    if isinstance(checked, Defer | Reject):
        return _apply_refusal(ctx, payout, checked)
    try:
        claimed = _claim(ctx, payout, claim_id)
        if claimed.status is Status.SUBMITTING and claimed.claim_id == claim_id:
            return submit_claimed(ctx, claimed, checked)
        return claimed
    finally:
        checked.release()


def submit_claimed(ctx: Context, payout: PayoutState, permit: Permit) -> PayoutState:
    """Send a payout whose claim is committed and record the answer; returns its new state.

    No database connection is held during the request. Once the request may have left, this must
    not run again: an answer that cannot be recorded is dropped, and the payout becomes unknown when
    its lease expires. A payout that may have been sent before is asked about instead (law 11).
    """
    doubt = ctx.witness(payout)
    if doubt is not None:
        permit.release()
    return _record(ctx, payout, doubt or _create(ctx, payout, permit))


def _claim_in_doubt(
    ctx: Context, payout: PayoutState, claim_id: str, reject: Reject
) -> PayoutState:
    """Ask about a payout that would be rejected unsent, but may have been sent before (law 11)."""
    claimed = _claim(ctx, payout, claim_id)
    if claimed.status is not Status.SUBMITTING or claimed.claim_id != claim_id:
        return claimed
    return _record(ctx, claimed, ctx.witness(claimed) or NeverSent(reject.reason))


def _record(ctx: Context, payout: PayoutState, outcome: OrderAnswer | Doubt) -> PayoutState:
    """Record what came of a claim; returns the payout's new state."""
    claim_id = payout.claim_id or ""
    now, jitter = ctx.clock(), ctx.jitter()

    def decide(fresh: PayoutState) -> Transition | None:
        if fresh.merchant_order_no != payout.merchant_order_no:
            return None  # the database went back in time, and another payout has the id now
        if isinstance(outcome, Doubt):
            return lifecycle.on_doubt(fresh, outcome, claim_id=claim_id, now=now)
        return lifecycle.on_create_answer(
            fresh,
            outcome,
            claim_id=claim_id,
            now=now,
            policy=ctx.policy_of(fresh),
            jitter=jitter,
        )

    def record() -> PayoutState | None:
        first = decide(payout)
        return (first and ctx.store.apply(first)) or ctx.store.update(payout.id, decide)

    try:
        return ctx.database_retry.run(record) or payout
    except DatabaseUnavailable:
        log.error("answer_not_recorded", merchant_order_no=payout.merchant_order_no)  # noqa: TRY400
        return payout


def _hold_if_not_configured(ctx: Context, payout: PayoutState) -> PayoutState:
    now = ctx.clock()

    def decide(fresh: PayoutState) -> Transition | None:
        if fresh.due_at != payout.due_at:
            return None
        return holds.hold_if_not_configured(fresh, now=now, policy=ctx.policy)

    return ctx.store.update(payout.id, decide) or payout


def _apply_refusal(ctx: Context, payout: PayoutState, refusal: Defer | Reject) -> PayoutState:
    now = ctx.clock()

    def decide(fresh: PayoutState) -> Transition | None:
        if fresh.due_at != payout.due_at:
            return None
        if isinstance(refusal, Reject):
            return lifecycle.on_outside_limit(fresh, refusal.reason, now=now)
        return lifecycle.defer(fresh, until=refusal.until)

    return ctx.store.update(payout.id, decide) or payout


def _claim(ctx: Context, payout: PayoutState, claim_id: str) -> PayoutState:
    now = ctx.clock()

    def decide(fresh: PayoutState, sent_today: Decimal = Decimal(0)) -> Transition | None:
        if fresh.due_at != payout.due_at:
            return None
        return lifecycle.claim_for_submission(
            fresh, claim_id=claim_id, now=now, policy=ctx.policy_of(fresh), sent_today=sent_today
        )

    if payout.currency in ctx.policy_of(payout).cap_per_day:
        found = ctx.store.update_within_cap(payout, now - _CAP_WINDOW, decide)
    else:
        found = ctx.store.update(payout.id, decide)
    return found or payout


def _create(ctx: Context, payout: PayoutState, permit: Permit) -> OrderAnswer:
    """Send the create request, unless it is held back or could outlive the lease.

    The send guard learns only from requests that were made, not from those that we held back.
    """
    if isinstance(payout.account_no, UnreadableAccount):
        return NeverSent("its account number cannot be decrypted")
    if (reason := ctx.policy.missing_account(payout)) is not None:
        permit.release()
        return NeverSent(reason)
    if (reason := permit.confirm()) is not None:
        return NeverSent(reason)
    lease_ends = payout.due_at
    if lease_ends is None or ctx.clock() + ctx.total_timeout >= lease_ends:
        return NeverSent("the lease was nearly over before anything was sent")
    answer = ctx.access_of(payout).gateway.create(
        CreateOrder(
            merchant_order_no=payout.merchant_order_no,
            amount=decimal_text(payout.amount),
            currency=payout.currency,
            channel_code=payout.channel_code,
            account_no=payout.account_no,
            remark=payout.remark,
            extend_fields=payout.extend_fields,
        ),
        new_connection=permit.probe is not None,
        # a machine that was suspended, or whose clock was set, wakes up after its lease
        is_late=lambda: ctx.clock() >= lease_ends,
    )
    permit.record(answer)
    return answer


def decimal_text(amount: Decimal) -> str:
    """Format an amount for EPAY: the same text in every request."""
    return f"{amount:.2f}"
