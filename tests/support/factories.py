"""The values that tests are made of: settings, requests, reports, and payouts in every status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import SecretStr

from shared.config.settings import Settings
from shared.domain import lifecycle, reports
from shared.domain.absence_proof import Control
from shared.domain.gateway import OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import PayoutState, Status
from shared.domain.policy import Policy

API_KEY = "sk-7Kq2-very-secret"

T0 = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ABSENT = Refused(code="404", message="order does not exist")
DEFINITE = Refused(code="422", message="account is closed")
VAGUE = Refused(code="500", message="busy")
LOST = OutcomeUnknown("read timeout")

POLICY = Policy(not_found_codes=frozenset({"404"}), refused_codes=frozenset({"422"}))
NO_CODES = Policy()

FINAL_CODES = {
    "5": Status.CANCELLED,
    "6": Status.FAILED,
    "7": Status.SUCCEEDED,
    "8": Status.CLOSED,
    "20": Status.FAILED_FEE_KEPT,
}
FOLLOWED = (Status.UNKNOWN, Status.PROCESSING, Status.PENDING_WITHDRAWAL)
ENDS = (*FINAL_CODES.values(), Status.REJECTED)
OPEN = (Status.QUEUED, Status.SUBMITTING, *FOLLOWED)


def make_settings(**changes: Any) -> Settings:
    """Settings with which a worker could start."""
    fields: dict[str, Any] = {
        "database_url": "postgresql://u@h/d",
        "redis_url": "redis://h",
        "epay_base_url": "https://gateway.example/capi/openapi/",
        "epay_account": "shop@example.com",
        "epay_api_key": SecretStr(API_KEY),
    }
    return Settings(**(fields | changes))


def make_payout(now: datetime = T0, **changes: Any) -> PayoutState:
    """A payout that is not stored yet, created and due at `now`."""
    fields: dict[str, Any] = {
        "epay_account": "shop@example.com",
        "merchant_order_no": "A-1",
        "amount": Decimal("10.00"),
        "currency": "USD",
        "channel_code": "11",
        "account_no": "41111810111111111111",
        "remark": None,
        "extend_fields": None,
        "notify": {"task": "app.told", "queue": "app", "on": ["accepted", "final"]},
        "status": Status.QUEUED,
        "due_at": now,
        "created_at": now,
        "updated_at": now,
    }
    return PayoutState(**(fields | changes))


def make_service_payout(order_no: str, now: datetime, **changes: Any) -> PayoutState:
    """A payout of the account that the tests with real servers use; nobody is notified."""
    fields: dict[str, Any] = {
        "epay_account": "test2020@epay.com",
        "merchant_order_no": order_no,
        "amount": Decimal("10.50"),
        "account_no": "U1234567890",
        "notify": None,
    }
    return make_payout(now, **(fields | changes))


def request_kwargs(order_no: str = "order-1", **changes: Any) -> dict[str, Any]:
    """The kwargs of a valid `payouts.request`, its required fields alone."""
    fields: dict[str, Any] = {
        "merchant_order_no": order_no,
        "amount": "10.50",
        "currency": "USD",
        "channel_code": "11",
        "account_no": "U1234567890",
    }
    return fields | changes


def make_report(
    status: str | None = "1",
    source: str = "query",
    *,
    payout: PayoutState | None = None,
    **changes: Any,
) -> Report:
    """A report that agrees with the payout, or with `make_payout`."""
    about = payout or make_payout()
    fields: dict[str, Any] = {
        "epay_account": about.epay_account,
        "merchant_order_no": about.merchant_order_no,
        "epay_order_no": "E-9",
        "amount": about.amount,
        "currency": about.currency,
        "fee": Decimal("0.30"),
    }
    return Report(source=source, status=status, **(fields | changes))


def accepted(policy: Policy = POLICY, now: datetime = T0, **changes: Any) -> PayoutState:
    """A payout claimed for its first send."""
    return lifecycle.accept(make_payout(**changes), claim_id="c1", now=now, policy=policy).after


def created(
    payout: PayoutState,
    answer: OrderAnswer,
    *,
    claim_id: str = "c1",
    now: datetime = T0 + SECOND,
    policy: Policy = POLICY,
    jitter: float = 0.0,
) -> PayoutState:
    """The payout after the answer to its create request."""
    return lifecycle.on_create_answer(
        payout, answer, claim_id=claim_id, now=now, policy=policy, jitter=jitter
    ).after


def queried(
    payout: PayoutState,
    answer: OrderAnswer,
    at: datetime,
    *,
    policy: Policy = POLICY,
    now: datetime | None = None,
    control: Control = Control.PASSED,
) -> PayoutState:
    """The payout after the answer to a query that began at `at`; EPAY shows the control."""
    transition = reports.on_query_answer(
        payout, answer, asked_at=at, now=now or at, policy=policy, jitter=0.0, control=control
    )
    return payout if transition is None else transition.after


def called_back(
    payout: PayoutState, report: Report, now: datetime = T0 + 2 * SECOND
) -> PayoutState:
    """The payout after a verified callback."""
    return reports.on_callback(payout, report, now=now, policy=POLICY, jitter=0.0).after


def unknown(policy: Policy = POLICY, **changes: Any) -> PayoutState:
    """A payout whose create was sent at T0 and got no trustworthy answer."""
    return created(accepted(policy, **changes), LOST, policy=policy)


def standing(status: Status) -> PayoutState:
    """A payout in that status, by allowed transitions."""
    if status is Status.QUEUED:
        return lifecycle.accept_queued(make_payout(), now=T0).after
    if status is Status.SUBMITTING:
        return accepted()
    if status is Status.UNKNOWN:
        return unknown()
    if status is Status.REJECTED:
        return created(accepted(), DEFINITE)
    codes = {**FINAL_CODES, "1": Status.PROCESSING, "19": Status.PENDING_WITHDRAWAL}
    code = next(code for code, meant in codes.items() if meant is status)
    payout = created(accepted(), make_report(code, "create"))
    assert payout.status is status
    return payout


def after_send(seconds: float) -> datetime:
    """A time, counted from the first send."""
    return T0 + timedelta(seconds=seconds)
