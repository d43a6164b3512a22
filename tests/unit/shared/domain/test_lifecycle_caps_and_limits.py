"""What keeps a payout from being sent, or ends it before: caps, brakes, EPAY's limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from shared.domain import lifecycle, notifications, review
from shared.domain.gateway import NeverSent
from shared.domain.payout import PayoutState, Status, Transition, row_hash
from shared.domain.policy import Policy
from tests.support.factories import LOST, SECOND, T0, accepted, created, make_payout, standing

CAPPED = Policy(cap_per_payout={"USD": Decimal("9.99")})
OF_A_DAY = Policy(cap_per_day={"USD": Decimal(100)})


def begin(payout: PayoutState, policy: Policy, sent_today: str = "0") -> Transition:
    step = lifecycle.claim_for_submission(
        payout, claim_id="c1", now=T0, policy=policy, sent_today=Decimal(sent_today)
    )
    assert step is not None
    return step


def test_a_payout_above_the_cap_is_held_and_says_why() -> None:
    step = begin(standing(Status.QUEUED), CAPPED)
    assert step.after.status is Status.QUEUED
    assert step.after.review_reason == "above_cap: the cap for one payout is 9.99 USD"
    assert step.after.due_at == T0 + timedelta(days=1)
    assert step.event is not None
    assert step.event.kind == "held"


def test_a_held_payout_stays_held_without_further_events() -> None:
    held = begin(standing(Status.QUEUED), CAPPED).after
    again = begin(held, Policy())
    assert again.event is None
    assert again.after.status is Status.QUEUED


@pytest.mark.parametrize("amount", ["9.99", "9.98"])
def test_the_cap_itself_is_allowed(amount: str) -> None:
    queued = lifecycle.accept_queued(make_payout(amount=Decimal(amount)), now=T0).after
    assert begin(queued, CAPPED).after.status is Status.SUBMITTING


def test_another_currency_has_no_cap() -> None:
    queued = lifecycle.accept_queued(make_payout(currency="EUR"), now=T0).after
    assert begin(queued, CAPPED).after.status is Status.SUBMITTING


@pytest.mark.parametrize(
    ("sent", "held"), [("90.00", False), ("90.01", True), ("0", False), ("100", True)]
)
def test_the_cap_of_the_day_counts_what_was_sent(sent: str, held: bool) -> None:
    after = begin(standing(Status.QUEUED), OF_A_DAY, sent).after
    assert (after.status is Status.QUEUED) is held
    assert review.awaits_release(after) is held


def test_what_a_person_released_passes_every_cap() -> None:
    held = begin(standing(Status.QUEUED), CAPPED).after
    released = review.clear_review(replace(held, released_at=T0))
    both = replace(CAPPED, cap_per_day={"USD": Decimal(1)})
    assert begin(released, both).after.status is Status.SUBMITTING


def test_what_may_have_left_is_not_held_by_a_cap() -> None:
    """It is counted already; and holding it would not take it back."""
    queued = replace(standing(Status.QUEUED), first_sent_at=T0, last_sent_at=T0)
    assert begin(queued, CAPPED).after.status is Status.SUBMITTING


@pytest.mark.parametrize(("policy", "free"), [(Policy(), True), (CAPPED, False), (OF_A_DAY, False)])
def test_only_what_no_cap_can_hold_is_claimed_at_once(policy: Policy, free: bool) -> None:
    assert policy.within_caps(make_payout()) is free


def test_a_brake_moves_the_clock_alone() -> None:
    queued = standing(Status.QUEUED)
    step = lifecycle.defer(queued, until=T0 + 9 * SECOND)
    assert step is not None
    assert step.event is None
    assert step.after == replace(queued, due_at=T0 + 9 * SECOND)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.QUEUED])
def test_a_brake_moves_nothing_that_was_sent(status: Status) -> None:
    assert lifecycle.defer(standing(status), until=T0) is None
    assert lifecycle.on_outside_limit(standing(status), "limit", now=T0) is None


def test_outside_of_epays_limit_is_rejected_with_the_limit_as_the_reason() -> None:
    step = lifecycle.on_outside_limit(standing(Status.QUEUED), "EPAY's limit is 1 to 5", now=T0)
    assert step is not None
    assert (step.after.status, step.after.due_at) == (Status.REJECTED, None)
    assert step.after.refusal == "EPAY's limit is 1 to 5"
    assert step.event is not None
    assert step.event.detail == {"reason": "EPAY's limit is 1 to 5"}
    assert [message.kwargs["status"] for message in notifications.messages_for(step)] == [
        "rejected"
    ]


def test_a_limit_rejects_nothing_that_may_have_left() -> None:
    resent = replace(standing(Status.QUEUED), first_sent_at=T0)
    assert lifecycle.on_outside_limit(resent, "limit", now=T0) is None


def test_what_provably_never_left_can_still_be_outside_the_limit() -> None:
    queued = created(accepted(), NeverSent("refused"))
    assert queued.first_sent_at is None
    assert lifecycle.on_outside_limit(queued, "limit", now=T0 + SECOND) is not None


def test_a_brake_after_the_claim_puts_the_payout_back() -> None:
    """The last look before sending: nothing left, so it is as if it was never begun."""
    after = created(accepted(), NeverSent("paused"))
    assert (after.status, after.first_sent_at) == (Status.QUEUED, None)
    assert created(accepted(), LOST).first_sent_at == T0


def test_the_release_is_in_the_digest_of_the_row() -> None:
    """And a row that is older than the column keeps the digest that it had."""
    payout = standing(Status.QUEUED)
    assert row_hash(replace(payout, released_at=T0)) != row_hash(payout)
