"""Law 8, its pure part: which step has which message to the requesting app."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from shared.contract import Notify, PayoutOutcome, PayoutRequest, RequestError
from shared.domain import lifecycle, notifications, reports
from shared.domain.payout import PayoutState, Status, Transition
from tests.support.factories import (
    DEFINITE,
    ENDS,
    FINAL_CODES,
    LOST,
    OPEN,
    POLICY,
    T0,
    accepted,
    after_send,
    make_payout,
    make_report,
    request_kwargs,
    standing,
)

NOW = after_send(700)
BOTH = Notify(task="app.told", queue="app", on=("accepted", "final"))
RECEIPT = Notify(task="app.told", queue="app", on=("accepted",))
END = Notify(task="app.told", queue="app")
ERROR = RequestError(code="conflict", field="amount", message="is another")


def ended(payout: PayoutState, code: str = "7") -> Transition:
    """The step by which a callback ends a payout."""
    return reports.on_callback(
        payout, make_report(code, "callback"), now=NOW, policy=POLICY, jitter=0.0
    )


def accept(**changes: Any) -> Transition:
    """The step by which a payout is taken in."""
    return lifecycle.accept(make_payout(**changes), claim_id="c1", now=T0, policy=POLICY)


def address(*moments: str) -> dict[str, Any]:
    """A notify as the row holds it."""
    return {"task": "app.told", "queue": "app", "on": list(moments)}


def test_the_receipt() -> None:
    """Every field of the message, for a payout just taken in."""
    [message] = notifications.messages_for(accept())
    assert (message.task, message.queue) == ("app.told", "app")
    assert message.kwargs == {
        "merchant_order_no": "A-1",
        "epay_account": "shop@example.com",
        "status": "submitting",
        "previous_status": None,
        "epay_order_no": None,
        "amount": "10.00",
        "currency": "USD",
        "fee": None,
        "occurred_at": "2026-01-05T12:00:00+00:00",
        "sequence": 1,
    }


@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize("code", FINAL_CODES)
def test_the_end(status: Status, code: str) -> None:
    """Every field of the message, for every end and every way there."""
    step = ended(standing(status), code)
    [message] = notifications.messages_for(step)
    assert message.kwargs == {
        "merchant_order_no": "A-1",
        "epay_account": "shop@example.com",
        "status": FINAL_CODES[code].value,
        "previous_status": status.value,
        "epay_order_no": "E-9",
        "amount": "10.00",
        "currency": "USD",
        "fee": "0.30",
        "occurred_at": NOW.isoformat(),
        "sequence": step.after.sequence,
    }


def test_the_message_has_exactly_the_fields_of_the_contract() -> None:
    """The names that other programs rely on."""
    [message] = notifications.messages_for(accept())
    assert set(message.kwargs) == set(PayoutOutcome.__annotations__) - {"error", "stands"}


def test_a_rejection_is_an_end() -> None:
    """EPAY never took it: the app is told."""
    step = lifecycle.on_create_answer(
        accepted(),
        DEFINITE,
        claim_id="c1",
        now=NOW,
        policy=POLICY,
        jitter=0.0,
    )
    [message] = notifications.messages_for(step)
    assert (message.kwargs["status"], message.kwargs["fee"]) == ("rejected", None)


@pytest.mark.parametrize(
    ("moments", "at_accept", "at_end"),
    [(("accepted", "final"), 1, 1), (("accepted",), 1, 0), (("final",), 0, 1)],
)
def test_the_app_is_told_when_it_asked_to_be(
    moments: tuple[str, ...], at_accept: int, at_end: int
) -> None:
    """Neither more nor less."""
    step = accept(notify=address(*moments))
    assert len(notifications.messages_for(step)) == at_accept
    assert len(notifications.messages_for(ended(step.after))) == at_end


def test_without_an_address_nobody_is_told() -> None:
    """No notify, no message, at any step."""
    step = accept(notify=None)
    assert notifications.messages_for(step) == []
    assert notifications.messages_for(ended(step.after)) == []
    assert notifications.messages_for_duplicate(step.after, None) == []


def test_a_queued_payout_has_its_receipt_too() -> None:
    """Being on disk is what the receipt says, not being sent."""
    [message] = notifications.messages_for(lifecycle.accept_queued(make_payout(), now=T0))
    assert message.kwargs["status"] == "queued"


def test_what_is_on_the_way_is_told_to_nobody() -> None:
    """Only the beginning and the end are."""
    payout = accepted()
    step = lifecycle.on_create_answer(
        payout, make_report("1", "create"), claim_id="c1", now=NOW, policy=POLICY, jitter=0.0
    )
    assert notifications.messages_for(step) == []
    assert notifications.messages_for(ended(step.after, "19")) == []


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("code", FINAL_CODES)
def test_an_end_is_told_once(status: Status, code: str) -> None:
    """Neither a repeated nor a contradicting report makes a second message."""
    assert notifications.messages_for(ended(standing(status), code)) == []


def test_a_step_without_event_has_no_message() -> None:
    """Only the clock moved."""
    step = reports.on_query_answer(
        standing(Status.PROCESSING), LOST, asked_at=NOW, now=NOW, policy=POLICY, jitter=0.0
    )
    assert step is not None
    assert notifications.messages_for(step) == []


@pytest.mark.parametrize("status", OPEN)
def test_a_duplicate_gets_its_receipt_again(status: Status) -> None:
    """It may have been lost with the broker; today's status under today's sequence."""
    payout = standing(status)
    [message] = notifications.messages_for_duplicate(payout, BOTH)
    assert message.kwargs["status"] == status.value
    assert message.kwargs["previous_status"] is None
    assert message.kwargs["sequence"] == payout.sequence
    assert len(notifications.messages_for_duplicate(payout, RECEIPT)) == 1
    assert notifications.messages_for_duplicate(payout, END) == []


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("notify", [BOTH, RECEIPT, END])
def test_a_duplicate_of_what_has_ended_gets_the_end_again(status: Status, notify: Notify) -> None:
    """One message, dated at the end."""
    [message] = notifications.messages_for_duplicate(standing(status), notify)
    assert message.kwargs["status"] == status.value
    assert message.kwargs["occurred_at"] == after_send(1).isoformat()


def test_a_duplicate_is_answered_where_the_app_says() -> None:
    """Not where the first app said."""
    [message] = notifications.messages_for_duplicate(
        accepted(), Notify(task="other.told", queue="other", on=("accepted",))
    )
    assert (message.task, message.queue) == ("other.told", "other")


def request(**changes: Any) -> PayoutRequest:
    """A request for the same number with another amount."""
    fields = {"amount": "11.00", "currency": "EUR", "notify": BOTH.model_dump()}
    return PayoutRequest.model_validate(request_kwargs("A-1", **(fields | changes)))


def test_a_conflict_is_told_with_what_was_asked() -> None:
    """Law 14: the error, the app's amount, no sequence of its own, and what stands."""
    payout = standing(Status.SUCCEEDED)
    [message] = notifications.messages_for_conflict(payout, request(), ERROR, NOW)
    assert message.kwargs == {
        "merchant_order_no": "A-1",
        "epay_account": "shop@example.com",
        "status": "conflict",
        "previous_status": None,
        "epay_order_no": None,
        "amount": "11.00",
        "currency": "EUR",
        "fee": None,
        "occurred_at": NOW.isoformat(),
        "sequence": None,
        "error": ERROR,
        "stands": {
            "status": "succeeded",
            "amount": "10.00",
            "currency": "USD",
            "sequence": payout.sequence,
        },
    }
    assert notifications.messages_for_conflict(payout, request(notify=None), ERROR, NOW) == []


def test_an_invalid_request_is_told_what_can_be_said() -> None:
    """Texts cut short and printable, everything else empty."""
    kwargs = {"merchant_order_no": "A\n" + "x" * 100, "amount": 12.5, "account_no": "4111"}
    [message] = notifications.messages_for_invalid(kwargs, END, "shop@example.com", ERROR, NOW)
    assert message.kwargs == {
        "merchant_order_no": "A?" + "x" * 62,
        "epay_account": "shop@example.com",
        "status": "invalid",
        "previous_status": None,
        "epay_order_no": None,
        "amount": "",
        "currency": "",
        "fee": None,
        "occurred_at": NOW.isoformat(),
        "sequence": None,
        "error": ERROR,
    }
    assert "4111" not in str(message)
    assert notifications.messages_for_invalid(kwargs, None, "shop@example.com", ERROR, NOW) == []


@pytest.mark.parametrize(
    ("value", "given"),
    [
        ("A-1", "A-1"),
        ("a\x00b\u202ec", "a?b?c"),
        ("x" * 65, "x" * 64),
        ("", ""),
        (None, ""),
        (12, ""),
        (["A-1"], ""),
        ({"a": 1}, ""),
    ],
)
def test_echo(value: object, given: str) -> None:
    """Text only, short, printable."""
    assert notifications.echo(value) == given


def test_times_are_iso_8601_with_zone() -> None:
    """A program can read them back."""
    [message] = notifications.messages_for(ended(accepted()))
    assert datetime.fromisoformat(message.kwargs["occurred_at"]) == NOW


def test_amounts_are_decimal_strings() -> None:
    """Never floats, never rounded."""
    payout = replace(accepted(), amount=Decimal("9999999999999999.99"))
    step = reports.on_callback(
        payout,
        make_report("7", "callback", amount=payout.amount, fee=Decimal("0.10")),
        now=NOW,
        policy=POLICY,
        jitter=0.0,
    )
    [message] = notifications.messages_for(step)
    assert (message.kwargs["amount"], message.kwargs["fee"]) == ("9999999999999999.99", "0.10")
