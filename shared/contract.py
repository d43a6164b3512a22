"""The contract with requesting apps: names of tasks and queues, the request, the outcome.

An app that has only Celery needs the names and the JSON: docs/producers.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from typing_extensions import TypedDict

from shared.identifiers import fault_of_account_no, fault_of_order_no

TASK_REQUEST = "payouts.request"
TASK_SUBMIT = "payouts.submit"
TASK_QUERY = "payouts.query"
TASK_CALLBACK = "payouts.callback"
TASK_SWEEP = "payouts.sweep"
TASK_NOTIFY = "payouts.notify"
TASK_BOOKS = "payouts.books"

QUEUE_PAYOUTS = "payouts"
QUEUE_SUBMIT = "payouts.submit"
"""Payouts that the sweep found queued; workers take them before the requests of QUEUE_PAYOUTS."""
QUEUE_BULK = "payouts.bulk"
"""Requests that are taken when QUEUE_PAYOUTS is empty."""
QUEUE_RECONCILE = "payouts.reconcile"
QUEUE_NOTIFY = "payouts.notify"
QUEUE_PARKED = "payouts.parked"
"""Dead letters: requests whose task failed unexpectedly. No worker consumes this queue."""

QUEUE_OF = {
    TASK_REQUEST: QUEUE_PAYOUTS,
    TASK_SUBMIT: QUEUE_SUBMIT,
    TASK_QUERY: QUEUE_RECONCILE,
    TASK_CALLBACK: QUEUE_RECONCILE,
    TASK_SWEEP: QUEUE_RECONCILE,
    TASK_NOTIFY: QUEUE_NOTIFY,
    TASK_BOOKS: QUEUE_RECONCILE,
}

AMOUNT_SCALE = 2
"""Decimal places of a stored amount. EPAY documents none; its samples never show more."""
AMOUNT_DIGITS = 18
"""Digits of a stored amount, decimal places included."""

STATUS_INVALID = "invalid"
"""Not a payout's status: the request was invalid; nothing was stored or sent."""
STATUS_CONFLICT = "conflict"
"""Not a payout's status: the merchant_order_no belongs to a payout with other fields."""

_EXTEND_FIELDS_BYTES = 2048
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}[0-9]{0,3}")
_MOST_KWARGS = 100


def _plain_text(value: str) -> str:
    if not value.isprintable():
        msg = "has a control character, a line break or another character that cannot be printed"
        raise ValueError(msg)
    if value != value.strip():
        raise ValueError("begins or ends with white space")
    return value


def _intact_order_no(value: object) -> object:
    """Before the pattern, whose refusal would not say what happened to the number."""
    if isinstance(value, str) and (fault := fault_of_order_no(value)):
        raise ValueError(fault)
    return value


def _intact_account_no(value: str) -> str:
    if fault := fault_of_account_no(value):
        raise ValueError(fault)
    return value


def _exact_amount(value: str) -> str:
    amount = Decimal(value)
    if amount <= 0:
        raise ValueError("must be above zero")
    if amount >= Decimal(10) ** (AMOUNT_DIGITS - AMOUNT_SCALE):
        raise ValueError(f"has more than {AMOUNT_DIGITS - AMOUNT_SCALE} digits before the point")
    if len(value.partition(".")[2]) > AMOUNT_SCALE:
        msg = f"has more than {AMOUNT_SCALE} decimal places: its point may separate thousands"
        raise ValueError(msg)
    return value


def _small(value: dict[str, str]) -> dict[str, str]:
    if len(json.dumps(value, ensure_ascii=False).encode()) > _EXTEND_FIELDS_BYTES:
        raise ValueError(f"is larger than {_EXTEND_FIELDS_BYTES} bytes as JSON")
    return value


def _once_each(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise ValueError("names a moment twice")
    return value


OrderNo = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$"),
    BeforeValidator(_intact_order_no),
]
Amount = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9][0-9]*)(\.[0-9]+)?$", max_length=40),
    AfterValidator(_exact_amount),
]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3,8}$")]
ChannelCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
AccountNo = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    AfterValidator(_plain_text),
    AfterValidator(_intact_account_no),
]
Remark = Annotated[
    str, StringConstraints(min_length=1, max_length=255), AfterValidator(_plain_text)
]
EpayAccount = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
ExtendKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
ExtendValue = Annotated[str, StringConstraints(max_length=255), AfterValidator(_plain_text)]
TaskName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")]
Moment = Literal["accepted", "final"]


class Notify(BaseModel):
    """Whom to tell: a Celery task of the requesting app, on a queue of the requesting app."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    task: TaskName
    queue: TaskName
    on: Annotated[
        tuple[Moment, ...],
        Field(min_length=1, strict=False),
        AfterValidator(_once_each),
    ] = ("final",)
    """When: `accepted` is a receipt (the payout is on disk), `final` the end."""


class PayoutRequest(BaseModel):
    """The kwargs of `payouts.request`. Bounds on length are ours: EPAY documents none."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
    )

    merchant_order_no: OrderNo
    """Your idempotency key: the same number is the same payout, for ever."""
    amount: Amount
    """A decimal string, for example "10.50"; never a float."""
    currency: Currency
    channel_code: ChannelCode
    """The wallet system: 11 Perfect Money, 12 Advcash, 16 Payeer, 18 FasaPay (epay-gateway 3.1)."""
    account_no: Annotated[AccountNo, Field(repr=False)]
    remark: Remark | None = None
    extend_fields: Annotated[dict[ExtendKey, ExtendValue], AfterValidator(_small)] | None = None
    epay_account: EpayAccount | None = None
    """One of the accounts that the workers serve; left out: EPAY_ACCOUNT, or the only one."""
    notify: Notify | None = None


class RequestError(TypedDict):
    """Why a request was refused: a stable code, the field, and words for people."""

    code: str
    field: str
    message: str


class RequestResult(TypedDict):
    """What the task `payouts.request` returns."""

    merchant_order_no: str
    status: str
    duplicate: bool
    error: NotRequired[RequestError]


class StandingPayout(TypedDict):
    """The payout that already has the order number of a request that is a conflict."""

    status: str
    amount: str
    currency: str
    sequence: int


class PayoutOutcome(TypedDict):
    """The kwargs of the message to `notify.task`: amounts decimal strings, times ISO 8601 UTC.

    `invalid` and `conflict` answer one request: they say nothing of a payout's status (law 14).
    """

    merchant_order_no: str
    epay_account: str
    status: str
    previous_status: str | None
    epay_order_no: str | None
    amount: str
    currency: str
    fee: str | None
    occurred_at: str
    sequence: int | None
    """The number of the payout's event; null for `invalid` and `conflict`."""
    error: NotRequired[RequestError]
    """Only where `status` is `invalid` or `conflict`."""
    stands: NotRequired[StandingPayout]
    """Only where `status` is `conflict`: the payout as it is, which the request did not change."""


class InvalidRequest(Exception):
    """The kwargs of `payouts.request` are invalid; `error` is the first reason."""

    def __init__(
        self,
        error: RequestError,
        notify: Notify | None = None,
        all_errors: ValidationError | None = None,
    ) -> None:
        """Take the reason.

        Args:
            notify: where to send the answer, if that part of the request is valid.
            all_errors: every invalid field, where pydantic found them. Its `errors()` can hold
                values of the request: never log it.
        """
        super().__init__(f"{error['code']}: {error['field']} {error['message']}")
        self.error = error
        self.notify = notify
        self.all_errors = all_errors


def parse_request(kwargs: Mapping[str, Any]) -> PayoutRequest:
    """Validate the kwargs of `payouts.request`.

    Raises:
        InvalidRequest: no value of the request is in its text.
    """
    notify = parse_notify(kwargs)
    if len(kwargs) > _MOST_KWARGS:
        message = f"has more than {_MOST_KWARGS} kwargs"
        error = RequestError(code="unknown_field", field="request", message=message)
        raise InvalidRequest(error, notify)
    # pydantic takes the parsed notify as it is, and parses only an invalid one again for its errors
    parsed = {} if notify is None else {"notify": notify}
    try:
        return PayoutRequest.model_validate({**kwargs, **parsed})
    except ValidationError as error:
        raise InvalidRequest(_first_error(error), notify, error) from None


def parse_notify(kwargs: Mapping[str, Any]) -> Notify | None:
    """Where to send the answer, even if the rest of the request is invalid; None without it."""
    try:
        return Notify.model_validate(kwargs.get("notify"))
    except ValidationError:
        return None


def _first_error(error: ValidationError) -> RequestError:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    field = ".".join(_printable(part) for part in first["loc"][:3]) or "request"
    match first["type"]:
        case "missing":
            code = "missing_field"
        case "extra_forbidden":
            code = "unknown_field"
        case _:
            code = f"invalid_{_printable(first['loc'][0])}" if first["loc"] else "invalid_request"
    message = first["msg"].removeprefix("Value error, ")
    return RequestError(code=code, field=field, message=message)


def _printable(part: object) -> str:
    """A field name that a caller chose, as it may be repeated: a plain name, or a placeholder."""
    if isinstance(part, int):
        return str(part)
    name = str(part)
    return name if _PLAIN_NAME.fullmatch(name) else "(a name that is not repeated)"
