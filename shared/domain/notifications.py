"""The messages to the requesting app, made from a transition (law 8). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from shared.contract import (
    STATUS_CONFLICT,
    STATUS_INVALID,
    Amount,
    Currency,
    Notify,
    PayoutOutcome,
    PayoutRequest,
    RequestError,
    StandingPayout,
)
from shared.domain.payout import PayoutState, Transition
from shared.domain.transitions import FINAL

_ECHO_LENGTH = 64
_AMOUNT: TypeAdapter[str] = TypeAdapter(Amount)
_CURRENCY: TypeAdapter[str] = TypeAdapter(Currency)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the outbox: a task of the requesting app, its queue and its kwargs."""

    task: str
    queue: str
    kwargs: PayoutOutcome


def messages_for(transition: Transition) -> list[Message]:
    """The message about a transition: the receipt, the final status, or none."""
    before, after = transition.before, transition.after
    if after.notify is None or transition.event is None:
        return []
    if before is None:
        is_wanted = "accepted" in after.notify["on"]
    else:
        has_ended = before.status not in FINAL and after.status in FINAL
        is_wanted = has_ended and "final" in after.notify["on"]
    if not is_wanted:
        return []
    return [_message(after.notify, _outcome(after, before.status if before else None))]


def messages_for_duplicate(payout: PayoutState, notify: Notify | None) -> list[Message]:
    """The answer to a repeated request: the current status with the current sequence.

    The broker may have lost the receipt or the final message, so both are sent again.
    """
    if notify is None:
        return []
    is_wanted = "accepted" in notify.on or ("final" in notify.on and payout.status in FINAL)
    return [_message(notify.model_dump(), _outcome(payout, None))] if is_wanted else []


def messages_for_conflict(
    payout: PayoutState, request: PayoutRequest, error: RequestError, now: datetime
) -> list[Message]:
    """The answer to a request whose merchant_order_no belongs to a payout with other fields.

    It has no sequence: it must not replace the status of the payout that stands (law 14).
    """
    if request.notify is None:
        return []
    outcome = PayoutOutcome(
        merchant_order_no=payout.merchant_order_no,
        epay_account=payout.epay_account,
        status=STATUS_CONFLICT,
        previous_status=None,
        epay_order_no=None,
        amount=request.amount,
        currency=request.currency,
        fee=None,
        occurred_at=now.isoformat(),
        sequence=None,
        error=error,
        stands=StandingPayout(
            status=payout.status,
            amount=str(payout.amount),
            currency=payout.currency,
            sequence=payout.sequence,
        ),
    )
    return [_message(request.notify.model_dump(), outcome)]


def messages_for_invalid(
    kwargs: dict[str, Any], notify: Notify | None, account: str, error: RequestError, now: datetime
) -> list[Message]:
    """The answer to an invalid request, with those of its values that are safe to repeat."""
    if notify is None:
        return []
    outcome = PayoutOutcome(
        merchant_order_no=echo(kwargs.get("merchant_order_no")),
        epay_account=account,
        status=STATUS_INVALID,
        previous_status=None,
        epay_order_no=None,
        amount=_echo_if_valid(_AMOUNT, kwargs.get("amount")),
        currency=_echo_if_valid(_CURRENCY, kwargs.get("currency")),
        fee=None,
        occurred_at=now.isoformat(),
        sequence=None,
        error=error,
    )
    return [_message(notify.model_dump(), outcome)]


def echo(value: object) -> str:
    """A caller's value as it may be repeated: text only, short, printable."""
    if not isinstance(value, str):
        return ""
    return "".join(char if char.isprintable() else "?" for char in value[:_ECHO_LENGTH])


def _echo_if_valid(kind: TypeAdapter[str], value: object) -> str:
    """The value if it is valid, else empty: the caller may have put an account number there."""
    try:
        return kind.validate_python(value, strict=True)
    except ValidationError:
        return ""


def _outcome(payout: PayoutState, previous: str | None) -> PayoutOutcome:
    return PayoutOutcome(
        merchant_order_no=payout.merchant_order_no,
        epay_account=payout.epay_account,
        status=payout.status,
        previous_status=previous,
        epay_order_no=payout.epay_order_no,
        amount=str(payout.amount),
        currency=payout.currency,
        fee=None if payout.fee is None else f"{payout.fee:f}",
        occurred_at=(payout.finished_at or payout.updated_at).isoformat(),
        sequence=payout.sequence,
    )


def _message(notify: dict[str, Any], outcome: PayoutOutcome) -> Message:
    return Message(task=notify["task"], queue=notify["queue"], kwargs=outcome)
