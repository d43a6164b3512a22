"""From a request to a payout, and whether a repeated request is the same. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.contract import AMOUNT_SCALE, InvalidRequest, PayoutRequest, RequestError, parse_request
from shared.domain.accounts import ConfiguredAccounts, account_key
from shared.domain.payout import PayoutState, Status, UnreadableAccount
from shared.identifiers import doubt_about_account_no, doubt_about_order_no

_ALLOW = "`payouts batch --allow-alike` sends it, ALLOW_ALIKE=on accepts all such requests"
_COMPARED = ("amount", "currency", "channel_code", "account_no", "remark", "extend_fields")


def payout_from_request(
    kwargs: Mapping[str, Any],
    *,
    accounts: ConfiguredAccounts,
    now: datetime,
    nonce: str,
    refuse_doubtful: bool = False,
) -> tuple[PayoutRequest, PayoutState]:
    """Validate the kwargs of `payouts.request`; the request, and its payout: queued, not stored.

    Args:
        accounts: the EPAY accounts that the workers serve.
        nonce: random; see `PayoutState.nonce`.
        refuse_doubtful: whether identifiers are refused that a spreadsheet may have ruined, and
            that may also be right: for files, whose sender can confirm them.

    Raises:
        InvalidRequest: a field is invalid, or the request is for another account.
    """
    request = parse_request(kwargs)
    account = accounts.named(request.epay_account)
    if account is None:
        message = _not_configured(request.epay_account, accounts)
        error = RequestError(code="unknown_account", field="epay_account", message=message)
        raise InvalidRequest(error, request.notify)
    if refuse_doubtful and (doubtful := _doubtful(request)) is not None:
        raise InvalidRequest(doubtful, request.notify)
    payout = PayoutState(
        epay_account=account.account,
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
        epay_gateway=account.gateway,
        order_scope="" if request.epay_account is None else account_key(account.account),
    )
    return request, payout


def alike(order_no: str) -> RequestError:
    """The error for an order number that differs from an earlier one only by a spreadsheet's doing.

    Args:
        order_no: of the earlier payout.
    """
    return RequestError(
        code="alike_order_no",
        field="merchant_order_no",
        message=f"is that of the earlier payout {order_no}, but for case, leading zeros or .0. If"
        f" both are meant: {_ALLOW}",
    )


def _not_configured(account: str | None, accounts: ConfiguredAccounts) -> str:
    if account is None:
        return "must name one of the accounts that these workers serve"
    if len(accounts.accounts) == 1:
        return "is not the account that these workers serve; leave it out"
    # "leave it out" would have the payout paid from the default account
    return "is not one of the configured accounts, or is one at several gateways"


def _doubtful(request: PayoutRequest) -> RequestError | None:
    found = {
        "merchant_order_no": doubt_about_order_no(request.merchant_order_no),
        "account_no": doubt_about_account_no(request.account_no),
    }
    for field, doubt in found.items():
        if doubt is not None:
            message = f"{doubt}. If it is right: `payouts batch --allow-alike` sends it"
            return RequestError(code=f"invalid_{field}", field=field, message=message)
    return None


def standing_for(wanted: PayoutState, same_number: Sequence[PayoutState]) -> PayoutState | None:
    """The existing payout that the request stands for, of those with its number (law 10).

    A request that named no account stands for the payout of any account, its own first.
    """
    key = account_key(wanted.epay_account)
    found = [one for one in same_number if account_key(one.epay_account) == key]
    if wanted.order_scope == "":
        found += same_number
    return found[0] if found else None


def conflicting_fields(
    existing: PayoutState, requested: PayoutState, accounts: ConfiguredAccounts | None = None
) -> list[str]:
    """The fields in which two payouts of one merchant_order_no differ; empty: the same request.

    `notify` is not compared, nor is an account number that cannot be read. `epay_gateway` differs
    if the existing payout is at a gateway that is not configured here: its status says nothing
    about the requested one.
    """
    hidden = {"account_no"} if isinstance(existing.account_no, UnreadableAccount) else set()
    found = [
        name
        for name in _COMPARED
        if name not in hidden and getattr(existing, name) != getattr(requested, name)
    ]
    if accounts is not None and accounts.missing(existing.epay_account, existing.epay_gateway):
        ours = accounts.find(requested.epay_account, requested.epay_gateway)
        is_known = existing.epay_gateway is not None and requested.epay_gateway is not None
        if not is_known or ours is None or not ours.has(existing.epay_gateway or ""):
            found.append("epay_gateway")
    return found


def conflict(fields: list[str]) -> RequestError:
    """The error for a merchant_order_no that belongs to another payout; it contains no value."""
    return RequestError(
        code="conflict",
        field=fields[0],
        message=f"merchant_order_no stands for a payout with another {', '.join(fields)}",
    )
