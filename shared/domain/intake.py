"""From a request to a payout, and whether a repeated request is the same. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.contract import AMOUNT_SCALE, InvalidRequest, PayoutRequest, RequestError, parse_request
from shared.domain.payout import PayoutState, Status, UnreadableAccount

_COMPARED = ("amount", "currency", "channel_code", "account_no", "remark", "extend_fields")


def payout_from_request(
    kwargs: Mapping[str, Any], *, account: str, now: datetime, nonce: str
) -> tuple[PayoutRequest, PayoutState]:
    """Validate the kwargs of `payouts.request`; the request, and its payout: queued, not stored.

    Args:
        account: the EPAY account that the workers serve.
        nonce: random; see `PayoutState.nonce`.

    Raises:
        InvalidRequest: a field is invalid, or the request is for another account.
    """
    request = parse_request(kwargs)
    if request.epay_account not in {None, account}:
        error = RequestError(
            code="unknown_account",
            field="epay_account",
            message="is not the account that these workers serve; leave it out",
        )
        raise InvalidRequest(error, request.notify)
    payout = PayoutState(
        epay_account=account,
        merchant_order_no=request.merchant_order_no,
        amount=round(Decimal(request.amount), AMOUNT_SCALE),
        currency=request.currency,
        channel_code=request.channel_code,
        account_no=request.account_no,
        remark=request.remark,
        extend_fields=request.extend_fields,
        notify=request.notify.model_dump(mode="json") if request.notify else None,
        nonce=nonce,
        status=Status.QUEUED,
        due_at=now,
        created_at=now,
        updated_at=now,
    )
    return request, payout


def conflicting_fields(existing: PayoutState, requested: PayoutState) -> list[str]:
    """The fields in which two payouts of one merchant_order_no differ; empty: the same request.

    `notify` is not compared, nor is an account number that cannot be read.
    """
    hidden = {"account_no"} if isinstance(existing.account_no, UnreadableAccount) else set()
    return [
        name
        for name in _COMPARED
        if name not in hidden and getattr(existing, name) != getattr(requested, name)
    ]


def conflict(fields: list[str]) -> RequestError:
    """The error for a merchant_order_no that belongs to another payout; it contains no value."""
    return RequestError(
        code="conflict",
        field=fields[0],
        message=f"merchant_order_no stands for a payout with another {', '.join(fields)}",
    )
