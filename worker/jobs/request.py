"""`payouts.request`: accepts a payout from an asking app and sends it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from shared.contract import (
    STATUS_CONFLICT,
    STATUS_INVALID,
    InvalidRequest,
    PayoutRequest,
    RequestError,
    RequestResult,
    parse_notify,
    parse_request,
)
from shared.domain import lifecycle, notifications
from shared.domain.intake import conflict, conflicting_fields, payout_of
from shared.domain.payout import PayoutState, Status, Transition
from worker.context import Context
from worker.jobs.submission import submit_claimed, submit_queued
from worker.send_guard.interface import Defer, Permit, Reject

_NO_WAIT = timedelta(0)


def request(ctx: Context, kwargs: Mapping[str, Any], claim_id: str) -> RequestResult:
    """Accept a payout and send it, or report that it is a duplicate, a conflict or invalid.

    Args:
        claim_id: names this execution: if the database did not confirm our commit, it identifies
            the row as ours.
    """
    try:
        asked = parse_request(kwargs)
        wanted = _wanted(ctx, asked)
    except InvalidRequest as error:
        return _refuse(ctx, kwargs, error.error)
    permit = _permit(ctx, wanted)
    now = ctx.clock()
    if permit is None:  # accepted only; this task sends it, and the sweep does after a lease
        accept = lifecycle.accept_queued(wanted, now=now, due_at=now + ctx.policy.lease)
    else:  # accepted and claimed in one commit
        accept = lifecycle.accept(wanted, claim_id=claim_id, now=now, policy=ctx.policy)
    accepted = ctx.store.insert([accept])[0]
    if accepted is None:
        return _answer_repeated(ctx, asked, wanted, claim_id, permit)
    if permit is None:
        return _result(submit_queued(ctx, accepted, claim_id), duplicate=False)
    return _result(submit_claimed(ctx, accepted, permit), duplicate=False)


def _permit(ctx: Context, wanted: PayoutState) -> Permit | None:
    """The permit to send the payout at once; None if a cap or the send guard may hold it back."""
    if not ctx.policy.within_caps(wanted):
        return None
    checked = ctx.send_guard.check(wanted, max_wait=_NO_WAIT)
    return None if isinstance(checked, Defer | Reject) else checked


def _wanted(ctx: Context, asked: PayoutRequest) -> PayoutState:
    return payout_of(asked, account=ctx.account, now=ctx.clock(), nonce=secrets.token_hex(16))


def _refuse(ctx: Context, kwargs: Mapping[str, Any], error: RequestError) -> RequestResult:
    """Store and send nothing; tell the asking app why."""
    now = ctx.clock()
    messages = notifications.messages_for_invalid(
        dict(kwargs), parse_notify(kwargs), ctx.account, error, now
    )
    if messages:
        ctx.store.add_messages(None, messages, now)
    order_no = notifications.echo(kwargs.get("merchant_order_no"))
    return RequestResult(
        merchant_order_no=order_no, status=STATUS_INVALID, duplicate=False, error=error
    )


def _answer_repeated(
    ctx: Context,
    asked: PayoutRequest,
    wanted: PayoutState,
    claim_id: str,
    permit: Permit | None,
) -> RequestResult:
    """The merchant_order_no exists: from this very execution, the same payout, or another one."""
    standing = ctx.store.find(wanted.epay_account, wanted.merchant_order_no)
    if standing is None:
        msg = f"payout {wanted.merchant_order_no} was refused as a duplicate and is not there"
        raise LookupError(msg)
    if standing.claim_id == claim_id and standing.status is Status.SUBMITTING:
        # The database did not confirm our commit of the claim, but it was made.
        permit = permit or ctx.send_guard.recover_permit(standing)
        return _result(submit_claimed(ctx, standing, permit), duplicate=False)
    if fields := conflicting_fields(standing, wanted):
        return _conflict(ctx, asked, standing, fields)
    messages = notifications.messages_for_duplicate(standing, asked.notify)
    if messages:
        ctx.store.add_messages(standing.id, messages, ctx.clock())
    return _result(standing, duplicate=True)


def _conflict(
    ctx: Context, asked: PayoutRequest, standing: PayoutState, fields: list[str]
) -> RequestResult:
    now = ctx.clock()
    error = conflict(fields)

    def decide(payout: PayoutState) -> Transition:
        return lifecycle.on_conflict(payout, now=now, conflicting=fields)

    noted = ctx.store.update(standing.id, decide) or standing
    messages = notifications.messages_for_conflict(noted, asked, error, now)
    if messages:
        ctx.store.add_messages(noted.id, messages, now)
    return RequestResult(
        merchant_order_no=noted.merchant_order_no,
        status=STATUS_CONFLICT,
        duplicate=True,
        error=error,
    )


def _result(payout: PayoutState, *, duplicate: bool) -> RequestResult:
    return RequestResult(
        merchant_order_no=payout.merchant_order_no, status=payout.status.value, duplicate=duplicate
    )
