"""The messages to the asking app, made from a step (law 8). Pure."""

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
)
from shared.domain.payout import PayoutState, Transition
from shared.domain.transitions import FINAL

_ECHO = 64
_AMOUNT: TypeAdapter[str] = TypeAdapter(Amount)
_CURRENCY: TypeAdapter[str] = TypeAdapter(Currency)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the outbox: which task of the asking app, on which queue, with what."""

    task: str
    queue: str
    kwargs: PayoutOutcome


def messages_for(step: Transition) -> list[Message]:
    """What the asking app is told about a step: its receipt, its end, or nothing."""
    notify = step.after.notify
    if notify is None or step.event is None:
        return []
    if step.before is None:
        told = "accepted" in notify["on"]
    else:
        told = "final" in notify["on"] and _has_ended(step)
    if not told:
        return []
    previous = step.before.status if step.before else None
    return [_message(notify, _outcome(step.after, previous))]


def messages_for_duplicate(payout: PayoutState, notify: Notify | None) -> list[Message]:
    """The answer to a request that was made before: today's status, under today's sequence.

    A receipt may have been lost with the broker, so it is given again; so is the end.
    """
    if notify is None:
        return []
    told = "accepted" in notify.on or ("final" in notify.on and payout.status in FINAL)
    return [_message(notify.model_dump(), _outcome(payout, None))] if told else []


def messages_for_conflict(
    payout: PayoutState, request: PayoutRequest, error: RequestError, now: datetime
) -> list[Message]:
    """The answer to a request whose merchant_order_no is another payout's."""
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
        sequence=payout.sequence,
        error=error,
    )
    return [_message(request.notify.model_dump(), outcome)]


def messages_for_invalid(
    kwargs: dict[str, Any], notify: Notify | None, account: str, error: RequestError, now: datetime
) -> list[Message]:
    """The answer to kwargs that are no request: what can be said of them, cut short."""
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
        sequence=0,
        error=error,
    )
    return [_message(notify.model_dump(), outcome)]


def echo(value: object) -> str:
    """A caller's value given back: text only, short, printable."""
    if not isinstance(value, str):
        return ""
    return "".join(char if char.isprintable() else "?" for char in value[:_ECHO])


def _echo_if_valid(kind: TypeAdapter[str], value: object) -> str:
    """A value given back only where it is one: in its place may stand an account number."""
    try:
        return kind.validate_python(value, strict=True)
    except ValidationError:
        return ""


def _has_ended(step: Transition) -> bool:
    return (
        step.before is not None and step.before.status not in FINAL and step.after.status in FINAL
    )


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
