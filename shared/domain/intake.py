"""From a request to a payout, and what a repeated request means. Pure: the time comes in."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from shared.contract import AMOUNT_SCALE, InvalidRequest, PayoutRequest, RequestError
from shared.domain.payout import PayoutState, Status

_ASKED = ("amount", "currency", "channel_code", "account_no", "remark", "extend_fields")


def payout_of(asked: PayoutRequest, *, account: str, now: datetime, nonce: str) -> PayoutState:
    """The payout that is asked for, queued and not yet on disk.

    Args:
        account: the EPAY account that the workers serve.
        nonce: random; see `PayoutState.nonce`.

    Raises:
        InvalidRequest: it is asked for another account.
    """
    if asked.epay_account not in {None, account}:
        raise InvalidRequest(
            RequestError(
                code="unknown_account",
                field="epay_account",
                message="is not the account that these workers serve; leave it out",
            )
        )
    return PayoutState(
        epay_account=account,
        merchant_order_no=asked.merchant_order_no,
        amount=round(Decimal(asked.amount), AMOUNT_SCALE),
        currency=asked.currency,
        channel_code=asked.channel_code,
        account_no=asked.account_no,
        remark=asked.remark,
        extend_fields=asked.extend_fields,
        notify=asked.notify.model_dump(mode="json") if asked.notify else None,
        nonce=nonce,
        status=Status.QUEUED,
        due_at=now,
        created_at=now,
        updated_at=now,
    )


def conflicting_fields(standing: PayoutState, wanted: PayoutState) -> list[str]:
    """The fields in which a request is not the payout that has its order number; none: the same.

    Whom to tell is no part of it.
    """
    return [name for name in _ASKED if getattr(standing, name) != getattr(wanted, name)]


def conflict(fields: list[str]) -> RequestError:
    """What to tell an asker whose order number stands for another payout; no value is in it."""
    return RequestError(
        code="conflict",
        field=fields[0],
        message=f"merchant_order_no stands for a payout with another {', '.join(fields)}",
    )
