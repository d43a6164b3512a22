"""`payouts enqueue`: request one payout, as an app does."""

from __future__ import annotations

import json
from typing import Annotated, Any

from kombu.exceptions import OperationalError
from pydantic import ValidationError
from typer import Argument, Option

from ops.connections import database, token_of
from ops.console import note, say
from ops.errors import UserError
from ops.wording.channels import NAMED, undocumented
from ops.wording.request_errors import describe_errors
from shared.config.builders import build_accounts
from shared.config.settings import Settings, load
from shared.contract import QUEUE_PAYOUTS, TASK_REQUEST, PayoutRequest
from shared.messaging.celery_config import make_celery
from shared.messaging.owner import refuse_other_owner

_OPTIONS = {
    "merchant_order_no": "the order number",
    "channel_code": "--channel",
    "epay_account": "--account",
}
"""The arguments that are not named like their field."""


def enqueue(
    merchant_order_no: Annotated[str, Argument(help="Your order number; the idempotency key.")],
    amount: Annotated[str, Option(help='A decimal string, for example "10.50".')],
    currency: Annotated[str, Option(help="For example USD.")],
    channel_code: Annotated[
        str, Option("--channel", help=f"The wallet system, EPAY's code: {NAMED}.")
    ],
    account_no: Annotated[str, Option("--account-no", help="The wallet account to pay.")],
    remark: Annotated[str | None, Option(help="A note for the payee.")] = None,
    extend_fields: Annotated[str | None, Option(help="Your own data, a JSON object.")] = None,
    notify_task: Annotated[str | None, Option(help="Celery task to notify of the outcome.")] = None,
    notify_queue: Annotated[str | None, Option(help="The queue of that task.")] = None,
    epay_account: Annotated[
        str | None,
        Option("--account", "--epay-account", help="The EPAY account; default: EPAY_ACCOUNT."),
    ] = None,
) -> None:
    """Request one payout. The same order number is never paid twice.

    It sends the message that an app would send; `payouts show` shows the payout.
    """
    settings = load().need("redis_url")
    request: dict[str, Any] = {
        "merchant_order_no": merchant_order_no,
        "amount": amount,
        "currency": currency,
        "channel_code": channel_code,
        "account_no": account_no,
    }
    if remark is not None:
        request["remark"] = remark
    if extend_fields is not None:
        request["extend_fields"] = _json(extend_fields)
    if epay_account is not None:
        request["epay_account"] = epay_account
    if notify_task or notify_queue:
        request["notify"] = {"task": notify_task or "", "queue": notify_queue or ""}
    try:
        PayoutRequest.model_validate(request)
    except ValidationError as error:
        errors = (f"{_typed(field)} {text}" for field, text in describe_errors(error))
        raise UserError(f"nothing was requested: {'; '.join(errors)}") from None
    problem = _fault_of_account(settings, epay_account) or refuse_other_owner(
        settings, _token(settings)
    )
    if problem is not None:
        raise UserError(f"nothing was requested: {problem}")
    if warning := undocumented([channel_code]):
        note(warning)
    celery = make_celery("payouts-enqueue", settings)
    try:
        celery.send_task(TASK_REQUEST, kwargs=request, queue=QUEUE_PAYOUTS)
    except OperationalError as error:
        raise UserError(
            "the broker at REDIS_URL did not accept the message; run the same command again"
        ) from error
    say(f"Requested {merchant_order_no}. Its state: payouts show {merchant_order_no}")


def _fault_of_account(settings: Settings, epay_account: str | None) -> str | None:
    """Why the workers would refuse the request; None: they would not, or are not known here."""
    if settings.epay_accounts_file is None:
        return None
    accounts = build_accounts(settings)
    if accounts.named(epay_account) is not None:
        return None
    names = ", ".join(sorted({one.account for one in accounts.accounts}))
    return f"--account must name one of the accounts in EPAY_ACCOUNTS_FILE: {names}"


def _token(settings: Settings) -> str:
    """The token of the database, if one is configured here and answers."""
    if not settings.database_url:
        return ""
    with database(settings) as engine:
        return token_of(engine)


def _typed(field: str) -> str:
    return _OPTIONS.get(field, f"--{field.replace('_', '-')}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"--extend-fields is not JSON: {error}") from error
