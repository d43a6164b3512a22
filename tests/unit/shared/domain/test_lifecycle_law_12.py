"""Law 12: absence needs a positive control."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from shared.domain import review
from shared.domain.absence_proof import Control, describe_refusal, judge_control
from shared.domain.gateway import NeverSent, OrderAnswer, Refused
from shared.domain.payout import PayoutState, Status
from tests.support.factories import (
    ABSENT,
    LOST,
    VAGUE,
    accepted,
    after_send,
    created,
    make_report,
    queried,
    standing,
    unknown,
)

NO_PROOF = [Control.REFUSED, Control.UNANSWERED, Control.MISSING]


def absent_at(payout: PayoutState, *seconds: float, control: Control) -> PayoutState:
    for at in seconds:
        payout = queried(payout, ABSENT, after_send(at), control=control)
    return payout


@pytest.mark.parametrize("control", NO_PROOF)
def test_without_a_control_no_absence_counts(control: Control) -> None:
    """However often and however late: it is neither sent again nor rejected."""
    for payout in (unknown(), created(accepted(), VAGUE)):
        after = absent_at(payout, 10, 310, 610, 5000, 80_000, control=control)
        assert (after.status, after.absences) == (Status.UNKNOWN, ())
        assert after.review_reason is not None


def test_each_of_the_three_answers_needs_its_own_control() -> None:
    """A control of an earlier wave does not serve a later one."""
    two = absent_at(unknown(), 10, 310, control=Control.PASSED)
    assert absent_at(two, 610, control=Control.UNANSWERED).status is Status.UNKNOWN
    assert absent_at(two, 610, control=Control.PASSED).status is Status.QUEUED


@pytest.mark.parametrize("control", NO_PROOF)
def test_without_a_control_nothing_has_vanished(control: Control) -> None:
    """EPAY had it; with a wrong key it denies that, which says nothing."""
    after = absent_at(standing(Status.PROCESSING), 10, 700, control=control)
    assert (after.status, after.review_reason) == (Status.PROCESSING, None)


def test_a_person_is_told_what_is_missing() -> None:
    """After the settle time, each in its own words."""
    assert absent_at(unknown(), 599, control=Control.MISSING).review_reason is None
    reasons = {
        control: absent_at(unknown(), 600, control=control).review_reason or ""
        for control in NO_PROOF
    }
    assert review.code_of(reasons[Control.MISSING]) == review.NO_CONTROL
    assert review.code_of(reasons[Control.REFUSED]) == review.QUERY_REFUSED
    assert "an order that it must know" in reasons[Control.REFUSED]


def test_a_create_refused_for_our_key_is_no_ground_to_reject() -> None:
    """Once the key is right and absence is proven it is sent, where a true refusal rejects."""
    refused = created(accepted(), VAGUE)
    assert refused.refusal is not None
    blamed = queried(refused, VAGUE, after_send(5), control=Control.REFUSED)
    assert blamed.refusal is None
    assert absent_at(blamed, 10, 310, 610, control=Control.PASSED).status is Status.QUEUED
    assert absent_at(refused, 10, 310, 610, control=Control.PASSED).status is Status.REJECTED


KNOWN = standing(Status.SUCCEEDED)


@pytest.mark.parametrize(
    ("answer", "control"),
    [
        (make_report("7", payout=KNOWN), Control.PASSED),
        (make_report("1", payout=KNOWN), Control.PASSED),
        (make_report("7", payout=KNOWN, amount=Decimal(11)), Control.REFUSED),
        (make_report("7", payout=KNOWN, epay_account="other@example.com"), Control.REFUSED),
        (ABSENT, Control.REFUSED),
        (VAGUE, Control.REFUSED),
        (LOST, Control.UNANSWERED),
        (NeverSent("connection refused"), Control.UNANSWERED),
        (None, Control.UNANSWERED),
    ],
)
def test_what_the_control_is_worth(answer: OrderAnswer | None, control: Control) -> None:
    assert judge_control(KNOWN, answer) is control
    assert judge_control(None, answer) is Control.MISSING


def test_the_pause_says_what_epay_refused() -> None:
    """In words, without the payee's account."""
    words = describe_refusal(KNOWN, Refused("2002", f"bad sign {KNOWN.account_no}"))
    assert words.startswith("EPAY refuses A-1, an order that it must know: EPAY code 2002")
    assert KNOWN.account_no not in words
    other = replace(make_report("7", payout=KNOWN), currency="EUR")
    assert "another order under A-1" in describe_refusal(KNOWN, other)
