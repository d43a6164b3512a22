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
from shared.domain.accounts import ConfiguredAccount, ConfiguredAccounts
from shared.domain.intake import conflict, conflicting_fields, payout_from_request, standing_for
from shared.domain.payout import PayoutState, Status
from tests.support.factories import request_kwargs

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
NOTIFY = {"task": "shop.told", "queue": "shop"}
ACCOUNTS = ConfiguredAccounts.one("shop@example.com", "gateway.example", ("former.example",))
GOOD = request_kwargs("A-1", amount="10.5")


def taken_in(accounts: ConfiguredAccounts = ACCOUNTS, **changes: Any) -> PayoutState:
    return payout_from_request(GOOD | changes, accounts=accounts, now=NOW, nonce="n")[1]


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


def test_the_row_names_its_gateway_and_the_scope_of_its_number() -> None:
    """The usual request names no account: its number is unique among all of them (law 10)."""
    usual = taken_in()
    assert (usual.epay_account, usual.epay_gateway) == ("shop@example.com", "gateway.example")
    named = taken_in(epay_account="SHOP@example.com")
    assert named.epay_account == "shop@example.com", "what is configured goes to EPAY"
    assert (usual.order_scope, named.order_scope) == ("", "shop@example.com")


def test_without_a_default_a_request_must_name_its_account() -> None:
    several = ConfiguredAccounts(
        (ConfiguredAccount("a@x.com", "g"), ConfiguredAccount("b@x.com", "g"))
    )
    with pytest.raises(InvalidRequest, match="must name one"):
        taken_in(several)
    assert taken_in(several, epay_account="B@x.com").epay_account == "b@x.com"


def test_a_mistyped_account_is_not_sent_to_the_default() -> None:
    """With one account to leave it out is right; with several that pays from another one."""
    assert "leave it out" in refused(epay_account="other@example.com").error["message"]
    several = (ConfiguredAccount("a@x.com", "g"), ConfiguredAccount("b@x.com", "g"))
    for accounts in (ConfiguredAccounts(several, several[0]), ConfiguredAccounts(several)):
        with pytest.raises(InvalidRequest, match="is not one of the configured accounts") as caught:
            taken_in(accounts, epay_account="bb@x.com")
        assert "leave it out" not in caught.value.error["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("merchant_order_no", "12345678901234500000"),
        ("merchant_order_no", "03-12-2026"),
        ("account_no", "4111111111111110000"),
    ],
)
def test_what_may_be_ruined_needs_consent_in_a_file(field: str, value: str) -> None:
    """The refusal says what looks ruined and how to send it. An app's request is taken as it is."""
    kwargs = GOOD | {field: value}
    with pytest.raises(InvalidRequest) as caught:
        payout_from_request(kwargs, accounts=ACCOUNTS, now=NOW, nonce="n", refuse_doubtful=True)
    error = caught.value.error
    assert (error["code"], error["field"]) == (f"invalid_{field}", field)
    assert "spreadsheet" in error["message"]
    assert "--allow-alike" in error["message"]
    assert value not in error["message"]
    _, payout = payout_from_request(kwargs, accounts=ACCOUNTS, now=NOW, nonce="n")
    assert getattr(payout, field) == value


def test_a_known_number_is_that_payout_whatever_the_account() -> None:
    """The account changed, or only its spelling, between a request and its repetition (law 10)."""
    old = replace(taken_in(), epay_account="old@example.com")
    own = replace(taken_in(), epay_account="Shop@Example.com")
    assert standing_for(taken_in(), [old]) is old
    assert standing_for(taken_in(), [old, own]) is own
    assert standing_for(taken_in(), []) is None
    named = taken_in(epay_account="shop@example.com")
    assert standing_for(named, [old]) is None
    assert standing_for(named, [old, own]) is own


@pytest.mark.parametrize(
    ("changes", "conflicts"),
    [
        ({}, []),
        ({"epay_account": "old@example.com"}, []),
        ({"epay_gateway": "sandbox:8080"}, ["epay_gateway"]),
        ({"epay_account": "sandbox@x.com", "epay_gateway": "sandbox:8080"}, ["epay_gateway"]),
        ({"epay_account": "sandbox@x.com", "epay_gateway": None}, ["epay_gateway"]),
        ({"epay_gateway": None}, []),
        ({"epay_account": "old@example.com", "epay_gateway": "former.example"}, []),
    ],
)
def test_what_a_sandbox_paid_is_no_answer(changes: dict[str, Any], conflicts: list[str]) -> None:
    """The status of a payout at another gateway says nothing about the one requested here."""
    existing = replace(taken_in(), **changes)
    assert conflicting_fields(existing, taken_in(), ACCOUNTS) == conflicts
