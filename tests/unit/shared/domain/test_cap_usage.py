"""What a payout uses of a day's cap, and what it gives back."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from shared.domain import lifecycle
from shared.domain.cap_usage import NOT_COUNTED, change_of_usage, start_of_hour
from shared.domain.gateway import NeverSent, OutcomeUnknown, Refused
from shared.domain.payout import Status, Transition
from shared.domain.reports import on_callback
from tests.support.factories import (
    FINAL_CODES,
    LOST,
    POLICY,
    T0,
    accepted,
    make_payout,
    make_report,
    standing,
    unknown,
)

AMOUNT = Decimal("10.00")
HALF_PAST = T0 + timedelta(minutes=30)


def test_a_claim_uses_the_amount_in_its_hour() -> None:
    queued = standing(Status.QUEUED)
    claim = lifecycle.claim_for_submission(queued, claim_id="c", now=HALF_PAST, policy=POLICY)
    assert claim is not None
    assert change_of_usage(claim) == (start_of_hour(HALF_PAST), AMOUNT)


@pytest.mark.parametrize(("answer", "given_back"), [
    (NeverSent("connection refused"), True), (Refused("422", "closed"), True), (LOST, False),
    (Refused("500", "busy"), False), (make_report("6", "create"), True),
    (make_report("7", "create"), False), (make_report("1", "create"), False),
])  # fmt: skip
def test_what_was_not_sent_or_not_paid_is_given_back_to_its_hour(
    answer: NeverSent | OutcomeUnknown | Refused, given_back: bool
) -> None:
    """Also hours later."""
    sent = accepted(now=HALF_PAST)
    step = lifecycle.on_create_answer(
        sent, answer, claim_id="c1", now=T0 + timedelta(hours=3), policy=POLICY, jitter=0.0
    )
    assert change_of_usage(step) == ((T0, -AMOUNT) if given_back else None)


@pytest.mark.parametrize(("code", "status"), FINAL_CODES.items())
def test_every_end(code: str, status: Status) -> None:
    """Closed, and failed with the fee kept, may have cost money: they stay counted."""
    step = on_callback(unknown(), make_report(code, "callback"), now=T0, policy=POLICY, jitter=0.0)
    assert (change_of_usage(step) is not None) == (status in NOT_COUNTED)


def test_a_second_send_is_counted_once() -> None:
    """It stays in the hour of the first."""
    queued = make_payout(first_sent_at=T0, last_sent_at=T0, sequence=3)
    again = lifecycle.claim_for_submission(queued, claim_id="c", now=HALF_PAST, policy=POLICY)
    assert again is not None
    assert change_of_usage(again) is None


def test_a_new_payout_is_none_of_it() -> None:
    """Where a cap is set, it is accepted first and claimed then."""
    assert change_of_usage(Transition(None, accepted())) is None
