"""The JSON schemas: the files are the code's, and they say of real samples what the code says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from ops.json_schema import SCHEMAS, outcome_schema, request_schema
from shared.contract import InvalidRequest, Notify, PayoutOutcome, parse_request
from shared.domain import lifecycle, notifications
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.intake import conflict, payout_from_request
from shared.domain.payout import Status
from shared.domain.policy import Policy
from shared.domain.transitions import finish, make_transition
from tests.support.factories import request_kwargs
from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "schema"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOTIFY: dict[str, Any] = {"task": "shop.told", "queue": "shop", "on": ["accepted", "final"]}
LEAST = request_kwargs("0702001122", account_no="41111810111111111111")
WHOLE = LEAST | {
    "remark": "thank you, Zoë",
    "extend_fields": {"order.id": "7", "empty": ""},
    "epay_account": "test2020@epay.com",
    "notify": NOTIFY,
}
REQUEST = Draft202012Validator(request_schema())
OUTCOME = Draft202012Validator(outcome_schema())


def is_accepted(kwargs: dict[str, Any]) -> bool:
    try:
        parse_request(kwargs)
    except InvalidRequest:
        return False
    return True


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_files_are_what_the_code_says(name: str) -> None:
    """Else: `payouts schema NAME > docs/schema/NAME.json`, and tell the apps what changed."""
    assert json.loads((FOLDER / f"{name}.json").read_text()) == SCHEMAS[name]()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"amount": "0.01"},
        {"amount": "9999999999999999.99"},
        {"amount": "1.5"},
        {"account_no": "payee+tag@example.com"},
        {"account_no": "+380501234567"},
        {"notify": {"task": "a", "queue": "b"}},
        {"remark": None, "extend_fields": None, "notify": None},
    ],
)
def test_what_is_accepted_validates(changes: dict[str, Any]) -> None:
    """The schema refuses no request that the workers take."""
    for kwargs in (LEAST | changes, WHOLE | changes):
        assert is_accepted(kwargs)
        assert REQUEST.is_valid(kwargs)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 10.5},
        {"amount": "0.00"},
        {"amount": "0"},
        {"amount": "1.005"},
        {"amount": "01.00"},
        {"amount": "1e2"},
        {"amount": "-1"},
        {"amount": "10000000000000000"},
        {"currency": "usd"},
        {"account_no": ""},
        {"account_no": " U1"},
        {"account_no": "U1 U2"},
        {"account_no": "U1;U2"},
        {"account_no": "U1,U2"},
        {"account_no": "U1/U2"},
        {"account_no": "'007"},
        {"account_no": '="007"'},
        {"account_no": "#N/A"},
        {"account_no": "\u0420100"},
        {"amount": "3.000"},
        {"remark": "thanks "},
        {"merchant_order_no": "a/b"},
        {"merchant_order_no": None},
        {"extend_fields": {"a b": "1"}},
        {"extend_fields": {"a": 1}},
        {"notify": {"task": "a"}},
        {"notify": NOTIFY | {"on": []}},
        {"notify": NOTIFY | {"on": ["final", "final"]}},
        {"notify": NOTIFY | {"on": ["paid"]}},
        {"ammount": "1.00"},
    ],
)
def test_what_is_refused_does_not(changes: dict[str, Any]) -> None:
    """Neither the workers nor the schema let it pass."""
    assert not is_accepted(WHOLE | changes)
    assert not REQUEST.is_valid(WHOLE | changes)


@pytest.mark.parametrize("name", LEAST)
def test_a_missing_field_is_missed(name: str) -> None:
    """What is required is required in both."""
    kwargs = {key: value for key, value in WHOLE.items() if key != name}
    assert not is_accepted(kwargs)
    assert not REQUEST.is_valid(kwargs)


@settings(deadline=None)
@given(st.text("0123456789.", max_size=24))
def test_of_amounts_both_say_the_same(amount: str) -> None:
    """The pattern is the code's rule, not a weaker one."""
    assert REQUEST.is_valid(LEAST | {"amount": amount}) is is_accepted(LEAST | {"amount": amount})


def messages() -> list[PayoutOutcome]:
    """One of each kind that a requesting app gets."""
    asked, wanted = payout_from_request(
        WHOLE, accounts=ConfiguredAccounts.one("test2020@epay.com"), now=NOW, nonce="n"
    )
    accepted = lifecycle.accept(wanted, claim_id="c", now=NOW, policy=Policy())
    ended = finish(replace(accepted.after, fee=Decimal("0.10")), Status.REJECTED, NOW)
    end = make_transition(accepted.after, ended, kind="ended", actor="query", now=NOW, detail={})
    wrong = conflict(["amount"])
    made = [
        *notifications.messages_for(accepted),
        *notifications.messages_for(end),
        *notifications.messages_for_duplicate(end.after, Notify(**NOTIFY)),
        *notifications.messages_for_conflict(end.after, asked, wrong, NOW),
        *notifications.messages_for_invalid({"amount": 1}, Notify(**NOTIFY), "a", wrong, NOW),
    ]
    return [message.kwargs for message in made]


def test_every_message_to_an_app_validates() -> None:
    """Receipt, end, repetition, conflict, refusal: as they leave the outbox."""
    made = messages()
    assert [kwargs["status"] for kwargs in made] == [
        "submitting", "rejected", "rejected", "conflict", "invalid"
    ]  # fmt: skip
    for kwargs in made:
        OUTCOME.validate(json.loads(json.dumps(kwargs)))


def test_no_message_is_without_a_field() -> None:
    """The schema would notice."""
    for name in messages()[0]:
        short = {key: value for key, value in messages()[0].items() if key != name}
        assert not OUTCOME.is_valid(short)
    assert not OUTCOME.is_valid({**messages()[0], "status": "paid"})
