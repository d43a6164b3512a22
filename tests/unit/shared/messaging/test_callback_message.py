"""What the webhook hands to the worker."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from shared.domain.gateway import Report
from shared.messaging.callback_message import CallbackMessage
from tests.support.factories import make_report

SAID = make_report("7", "callback")


@pytest.mark.parametrize(
    "said",
    [
        SAID,
        replace(SAID, fee=None, epay_order_no=None),
        replace(SAID, status=None, amount=None, currency=None, epay_account=None),
        replace(SAID, amount=Decimal("0.10"), fee=Decimal("5.110")),
        replace(SAID, gateways=("gateway.example", "old.example:8443")),
    ],
)
@pytest.mark.parametrize("verified", [True, False])
def test_a_report_comes_through_the_broker_unchanged(said: Report, verified: bool) -> None:
    """As JSON and back: every digit, and what was left out stays left out."""
    sent = CallbackMessage.of(said, verified=verified).model_dump(mode="json", exclude_none=True)
    got = CallbackMessage.model_validate(json.loads(json.dumps(sent)))
    assert got.report() == said
    assert got.verified is verified
    assert str(got.report().amount) == str(said.amount)


def test_only_what_a_payout_needs_is_on_the_broker() -> None:
    """No pin code, no account number, no free text."""
    assert set(CallbackMessage.model_fields) == {
        "verified", "merchant_order_no", "epay_account", "epay_order_no", "status", "amount",
        "currency", "fee", "gateways",
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"pinCode": "11021"},
        {"merchant_order_no": None},
        {"merchant_order_no": "x" * 129},
        {"status": "7" * 129},
        {"verified": "perhaps"},
        {"amount": "NaN"},
        {"amount": "Infinity"},
        {"amount": "ten"},
        {"fee": [1]},
        {"gateways": []},
        {"gateways": "gateway.example"},
    ],
    ids=str,
)
def test_what_is_no_message_is_refused(wrong: dict[str, Any]) -> None:
    """Whoever can write to the broker cannot make a worker believe anything else."""
    fields = CallbackMessage.of(SAID, verified=True).model_dump(mode="json")
    with pytest.raises(ValidationError):
        CallbackMessage.model_validate({**fields, **wrong})


def test_an_absurdly_long_field_is_refused_at_the_edge() -> None:
    """Before it gets onto the broker."""
    with pytest.raises(ValidationError):
        CallbackMessage.of(replace(SAID, currency="U" * 129), verified=True)


def test_a_message_cannot_be_changed() -> None:
    """An unverified one does not become verified on the way."""
    message = CallbackMessage.of(SAID, verified=False)
    with pytest.raises(ValidationError):
        message.verified = True  # type: ignore[misc]
