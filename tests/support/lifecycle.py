"""Payouts, reports and journals for the tests of the pure code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.domain import lifecycle, reports
from shared.domain.gateway import OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import JournalEvent, PayoutState, Status, Transition
from shared.domain.policy import Policy

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


def new_payout(**changes: Any) -> PayoutState:
    """A payout that nobody has taken in yet."""
    payout = PayoutState(
        epay_account="shop@example.com",
        merchant_order_no="A-1",
        amount=Decimal("10.00"),
        currency="USD",
        channel_code="11",
        account_no="41111810111111111111",
        remark=None,
        extend_fields=None,
        notify={"task": "app.told", "queue": "app", "on": ["accepted", "final"]},
        status=Status.QUEUED,
        due_at=T0,
        created_at=T0,
        updated_at=T0,
    )
    return replace(payout, **changes)


def report(status: str | None = "1", source: str = "query", **changes: Any) -> Report:
    """A report that agrees with `new_payout`."""
    fields: dict[str, Any] = {
        "epay_account": "shop@example.com",
        "merchant_order_no": "A-1",
        "epay_order_no": "E-9",
        "amount": Decimal(10),
        "currency": "USD",
        "fee": Decimal("0.30"),
    }
    return Report(source=source, status=status, **{**fields, **changes})


def accepted(policy: Policy = POLICY, now: datetime = T0, **changes: Any) -> PayoutState:
    """A payout just claimed for its first send."""
    return lifecycle.accept(new_payout(**changes), claim_id="c1", now=now, policy=policy).after


def created(
    payout: PayoutState,
    answer: OrderAnswer,
    *,
    claim_id: str = "c1",
    now: datetime = T0 + SECOND,
    policy: Policy = POLICY,
    jitter: float = 0.0,
) -> PayoutState:
    """The payout after the end of a create request."""
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
) -> PayoutState:
    """The payout after the answer to a query that was begun at `at`."""
    step = reports.on_query_answer(
        payout, answer, asked_at=at, now=now or at, policy=policy, jitter=0.0
    )
    return payout if step is None else step.after


def called_back(payout: PayoutState, said: Report, now: datetime = T0 + 2 * SECOND) -> PayoutState:
    """The payout after a verified callback."""
    return reports.on_callback(payout, said, now=now, policy=POLICY, jitter=0.0).after


def unknown(policy: Policy = POLICY, **changes: Any) -> PayoutState:
    """A payout whose create was sent at T0 and got no answer that can be trusted."""
    return created(accepted(policy, **changes), LOST, policy=policy)


def standing(status: Status) -> PayoutState:
    """A payout in that status, by steps that are allowed."""
    if status is Status.QUEUED:
        return lifecycle.accept_queued(new_payout(), now=T0).after
    if status is Status.SUBMITTING:
        return accepted()
    if status is Status.UNKNOWN:
        return unknown()
    if status is Status.REJECTED:
        return created(accepted(), DEFINITE)
    codes = {**FINAL_CODES, "1": Status.PROCESSING, "19": Status.PENDING_WITHDRAWAL}
    code = next(code for code, meant in codes.items() if meant is status)
    payout = created(accepted(), report(code, "create"))
    assert payout.status is status
    return payout


def after_send(seconds: float) -> datetime:
    """A time, counted from the first send."""
    return T0 + timedelta(seconds=seconds)


MOVING = ("id", "sequence", "journal_hash", "due_at", "queries", "updated_at")
"""What an event does not fix of a payout: its clock, and the journal itself."""


def sha256_of(text: str) -> str:
    """The hash of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(fields_of: dict[str, Any]) -> str:
    """Sorted JSON, as the journal hashes it, worked out without the code under test."""

    def plain(value: object) -> str:
        if isinstance(value, datetime):
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
        assert isinstance(value, Decimal)
        text = str(value)
        return text.rstrip("0").rstrip(".") if "." in text else text

    return json.dumps(
        fields_of, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain
    )


def independent_row_hash(payout: PayoutState) -> str:
    """The digest of a payout in the journal, worked out without the code under test."""
    names = [field.name for field in fields(PayoutState) if field.name not in MOVING]
    values = {name: getattr(payout, name) for name in names}
    if values["released_at"] is None:
        del values["released_at"]  # the column is younger than the first journals
    return sha256_of(canonical(values))


def independent_hash(event: JournalEvent, payout: PayoutState) -> str:
    """The hash that an event must have, worked out without the code under test."""
    body = {
        "epay_account": payout.epay_account,
        "merchant_order_no": payout.merchant_order_no,
        "sequence": event.sequence,
        "kind": event.kind,
        "actor": event.actor,
        "at": event.at,
        "status_before": None if event.status_before is None else event.status_before.value,
        "status_after": event.status_after.value,
        "detail": event.detail,
        "row_hash": event.row_hash,
    }
    return sha256_of(event.previous_hash + "\n" + canonical(body))


def assert_chained(steps: Iterable[Transition]) -> None:
    """Every event follows the one before it, by number and by hash."""
    sequence, previous = 0, "0" * 64
    for step in steps:
        if step.event is None:
            continue
        assert step.event.sequence == sequence + 1
        assert step.event.previous_hash == previous
        assert step.event.row_hash == independent_row_hash(step.after)
        assert step.event.hash == independent_hash(step.event, step.after)
        assert (step.after.sequence, step.after.journal_hash) == (
            step.event.sequence,
            step.event.hash,
        )
        sequence, previous = step.event.sequence, step.event.hash
