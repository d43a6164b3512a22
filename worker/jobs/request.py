"""`payouts.request`: accepts a payout from a requesting app and sends it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.contract import (
    STATUS_CONFLICT,
    STATUS_INVALID,
    InvalidRequest,
    PayoutRequest,
    RequestError,
    RequestResult,
)
from shared.domain import lifecycle, notifications
from shared.domain.intake import alike, conflict, conflicting_fields, payout_from_request
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.redaction import redact
from shared.observability.logging import mask
from shared.storage.refused_requests import Refusal
from worker.context import Context
from worker.jobs.submission import submit_claimed, submit_queued
from worker.send_guard.permit import Defer, Permit, Reject

_NO_WAIT = timedelta(0)
_LONGEST_MESSAGE = 300
_MAX_TRIES = 3


class NumberNotStored(Exception):
    """An order number is refused as taken, and no payout has it: the database is damaged."""


def request(
    ctx: Context, kwargs: Mapping[str, Any], claim_id: str, source: str = ""
) -> RequestResult:
    """Accept a payout and send it; or answer that the request is a repetition or invalid.

    Args:
        claim_id: identifies this execution: if the reply to our own commit was lost, the row that
            is then found is ours.
        source: the process that sent the request, as its message says.

    Raises:
        NumberNotStored: see there; the request is parked, as after any unforeseen error.
    """
    try:
        asked, wanted = payout_from_request(
            kwargs, accounts=ctx.accounts, now=ctx.clock(), nonce=secrets.token_hex(16)
        )
    except InvalidRequest as invalid:
        return _refuse(ctx, kwargs, invalid, source)
    for _ in range(_MAX_TRIES):
        permit = _permit(ctx, wanted)
        accepted = ctx.store.insert([_accept(ctx, wanted, claim_id, permit)])[0]
        if accepted is None:
            standing = ctx.store.find_standing(wanted)
            if standing is not None:
                return _answer_repeated(ctx, asked, wanted, standing, claim_id, permit)
            if (earlier := ctx.store.find_alike(wanted)) is not None:
                return _refuse(ctx, kwargs, InvalidRequest(alike(earlier), asked.notify), source)
            continue  # the database went back in time since the insert
        if permit is None:
            return _result(submit_queued(ctx, accepted, claim_id), duplicate=False)
        return _result(submit_claimed(ctx, accepted, permit), duplicate=False)
    raise NumberNotStored(
        f"the database refused order number {wanted.merchant_order_no} as taken {_MAX_TRIES} times,"
        " and has no payout of it: nothing was stored or sent"
    )


def _permit(ctx: Context, wanted: PayoutState) -> Permit | None:
    """The permit to send the payout at once; None if a cap or the send guard may hold it back."""
    if not ctx.policy_of(wanted).within_caps(wanted):
        return None
    checked = ctx.send_guard.check(wanted, max_wait=_NO_WAIT)
    return None if isinstance(checked, Defer | Reject) else checked


def _accept(ctx: Context, wanted: PayoutState, claim_id: str, permit: Permit | None) -> Transition:
    """Accept and claim in one commit; without a permit accept only.

    Then this task has as long as a lease to claim it before the sweep does.
    """
    now = ctx.clock()
    if permit is None:
        return lifecycle.accept_queued(wanted, now=now, due_at=now + ctx.policy.lease)
    return lifecycle.accept(wanted, claim_id=claim_id, now=now, policy=ctx.policy_of(wanted))


def _refuse(
    ctx: Context, kwargs: Mapping[str, Any], invalid: InvalidRequest, source: str
) -> RequestResult:
    """Store no payout and send nothing; record why, and tell the requesting app."""
    now = ctx.clock()
    ctx.store.record_refused_request(_refusal(kwargs, invalid.error, source, now))
    messages = notifications.messages_for_invalid(
        dict(kwargs), invalid.notify, ctx.account, invalid.error, now
    )
    if messages:
        ctx.store.add_messages(None, messages, now)
    order_no = notifications.echo(kwargs.get("merchant_order_no"))
    return RequestResult(
        merchant_order_no=order_no, status=STATUS_INVALID, duplicate=False, error=invalid.error
    )


def _refusal(kwargs: Mapping[str, Any], error: RequestError, source: str, now: datetime) -> Refusal:
    echo = notifications.echo
    account_no = echo(kwargs.get("account_no"))
    return Refusal(
        at=now,
        source=echo(source),
        merchant_order_no=redact(echo(kwargs.get("merchant_order_no")), account_no),
        account_no=mask(account_no),
        code=error["code"],
        field=error["field"],
        message=redact(error["message"], account_no)[:_LONGEST_MESSAGE],
    )


def _answer_repeated(
    ctx: Context,
    asked: PayoutRequest,
    wanted: PayoutState,
    standing: PayoutState,
    claim_id: str,
    permit: Permit | None,
) -> RequestResult:
    """The merchant_order_no exists: from this execution, the same request, or another payout."""
    if standing.claim_id == claim_id and standing.status is Status.SUBMITTING:
        # The database did not confirm our commit of the claim, but it was made.
        permit = permit or ctx.send_guard.recover_permit(standing)
        return _result(submit_claimed(ctx, standing, permit), duplicate=False)
    if fields := conflicting_fields(standing, wanted, ctx.accounts):
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
