"""From the kwargs of a request to a payout."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest

from shared import contract
from shared.contract import InvalidRequest, Notify
from shared.domain.intake import conflict, conflicting_fields, payout_from_request
from shared.domain.payout import PayoutState, Status
from tests.support.factories import request_kwargs

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
NOTIFY = {"task": "shop.told", "queue": "shop"}
GOOD = request_kwargs("A-1", amount="10.5")


def taken_in(**changes: Any) -> PayoutState:
    return payout_from_request(GOOD | changes, account="shop@example.com", now=NOW, nonce="n")[1]


def refused(**changes: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        taken_in(**changes)
    return caught.value


def test_a_request_becomes_a_queued_payout() -> None:
    payout = taken_in(notify=NOTIFY)
    assert (payout.status, payout.due_at, payout.created_at) == (Status.QUEUED, NOW, NOW)
    assert (payout.amount, str(payout.amount)) == (Decimal("10.5"), "10.50")
    assert payout.notify == {**NOTIFY, "on": ["final"]}
    assert (payout.id, payout.sequence, payout.nonce) == (0, 0, "n")


def test_another_account_is_refused_and_the_app_can_be_told() -> None:
    assert taken_in(epay_account="shop@example.com").epay_account == "shop@example.com"
    error = refused(epay_account="other@example.com", notify=NOTIFY)
    assert (error.error["code"], error.error["field"]) == ("unknown_account", "epay_account")
    assert error.notify == Notify(**NOTIFY)
    assert error.all_errors is None


def test_an_invalid_request_says_where_to_answer() -> None:
    error = refused(amount=1, currency="usd", notify=NOTIFY)
    assert error.notify == Notify(**NOTIFY)
    assert error.all_errors is not None
    assert [found["loc"] for found in error.all_errors.errors()] == [("amount",), ("currency",)]
    assert refused(amount=1).notify is None
    assert refused(notify={**NOTIFY, "task": ""}).notify is None
    assert refused(**{f"x{nth}": nth for nth in range(100)}, notify=NOTIFY).notify is not None


def test_notify_is_parsed_once() -> None:
    """The instance that parse_notify made is the one in the request."""
    parsed = Notify(**NOTIFY)
    with mock.patch.object(contract, "parse_notify", return_value=parsed):
        assert contract.parse_request(GOOD | {"notify": NOTIFY}).notify is parsed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", "10.51"),
        ("currency", "EUR"),
        ("channel_code", "12"),
        ("account_no", "U1"),
        ("remark", "rent"),
        ("extend_fields", {"a": "b"}),
    ],
)
def test_a_repetition_with_another_field_conflicts(name: str, value: Any) -> None:
    assert conflicting_fields(taken_in(), taken_in(**{name: value})) == [name]
    assert conflict([name])["field"] == name


def test_a_repetition_may_be_told_elsewhere_and_write_the_amount_otherwise() -> None:
    existing = replace(taken_in(), status=Status.SUCCEEDED, sequence=4)
    assert conflicting_fields(existing, taken_in(notify=NOTIFY, amount="10.5")) == []
