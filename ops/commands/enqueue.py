"""`payouts enqueue`: ask for one payout, as another app would."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from kombu.exceptions import OperationalError
from pydantic import ValidationError

from ops.console import note, say
from ops.errors import UserError
from ops.wording.channels import NAMED, undocumented
from ops.wording.request_errors import what_is_wrong
from shared.config.settings import load
from shared.contract import QUEUE_PAYOUTS, TASK_REQUEST, PayoutRequest
from shared.messaging.celery_config import make_celery

_OPTIONS = {"merchant_order_no": "the order number", "channel_code": "--channel"}
"""What is typed for a field, where it is not named like the field."""


def enqueue(
    merchant_order_no: Annotated[
        str, typer.Argument(help="Your order number; the idempotency key.")
    ],
    amount: Annotated[str, typer.Option(help='A decimal string, for example "10.50".')],
    currency: Annotated[str, typer.Option(help="For example USD.")],
    channel_code: Annotated[
        str, typer.Option("--channel", help=f"The wallet system, EPAY's code: {NAMED}.")
    ],
    account_no: Annotated[str, typer.Option("--account-no", help="The wallet account to pay.")],
    remark: Annotated[str | None, typer.Option(help="A note for the payee.")] = None,
    extend_fields: Annotated[str | None, typer.Option(help="Your own data, a JSON object.")] = None,
    notify_task: Annotated[str | None, typer.Option(help="Celery task to tell the end to.")] = None,
    notify_queue: Annotated[str | None, typer.Option(help="The queue of that task.")] = None,
) -> None:
    """Ask for one payout. Asking again with the same order number never pays twice.

    It is a message, as an app would send it: `payouts show` says what became of it.
    """
    settings = load().need("redis_url")
    asked: dict[str, Any] = {
        "merchant_order_no": merchant_order_no,
        "amount": amount,
        "currency": currency,
        "channel_code": channel_code,
        "account_no": account_no,
    }
    if remark is not None:
        asked["remark"] = remark
    if extend_fields is not None:
        asked["extend_fields"] = _json(extend_fields)
    if notify_task or notify_queue:
        asked["notify"] = {"task": notify_task or "", "queue": notify_queue or ""}
    try:
        PayoutRequest.model_validate(asked)
    except ValidationError as error:
        words = (f"{_typed(field)} {reason}" for field, reason in what_is_wrong(error))
        raise UserError(f"nothing was asked for: {'; '.join(words)}") from None
    if mind := undocumented([channel_code]):
        note(mind)
    celery = make_celery("payouts-enqueue", settings)
    try:
        celery.send_task(TASK_REQUEST, kwargs=asked, queue=QUEUE_PAYOUTS)
    except OperationalError as error:
        raise UserError(
            "the broker at REDIS_URL did not take the message; run the same command again"
        ) from error
    say(f"Asked for {merchant_order_no}. See how it goes: payouts show {merchant_order_no}")


def _typed(field: str) -> str:
    return _OPTIONS.get(field, f"--{field.replace('_', '-')}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"--extend-fields is not JSON: {error}") from error
