"""Law 2: only what provably never left is sent again by itself; all else is unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain import lifecycle
from shared.domain.gateway import NeverSent, OutcomeUnknown
from shared.domain.payout import Status
from tests.support.factories import (
    ENDS,
    FOLLOWED,
    LOST,
    NO_CODES,
    POLICY,
    SECOND,
    T0,
    VAGUE,
    accepted,
    after_send,
    created,
    standing,
    unknown,
)

NEVER = NeverSent("connection refused")


@pytest.mark.parametrize(
    "reason", ["name lookup failed", "connection refused", "connect timeout", "tls handshake"]
)
def test_what_never_left_goes_back_to_the_queue(reason: str) -> None:
    """The payout is queued again, due after a pause, and was never sent."""
    payout = created(accepted(), NeverSent(reason))
    assert payout.status is Status.QUEUED
    assert payout.due_at == T0 + SECOND + timedelta(seconds=POLICY.submit_backoff[0])
    assert payout.first_sent_at is None


@pytest.mark.parametrize(
    "reason", ["read timeout", "reset", "HTTP 502", "answer is not JSON", "wrong signature"]
)
@pytest.mark.parametrize("policy", [POLICY, NO_CODES])
def test_what_may_have_left_is_unknown(reason: str, policy: lifecycle.Policy) -> None:
    """Whatever the policy says: a send without a trusted answer is asked about, never repeated."""
    payout = created(accepted(policy), OutcomeUnknown(reason), policy=policy)
    assert payout.status is Status.UNKNOWN
    assert payout.due_at == T0 + SECOND + timedelta(seconds=POLICY.query_backoff[0])
    assert payout.first_sent_at == T0


def test_a_refusal_is_no_proof_that_nothing_left() -> None:
    """An answer came, so bytes left."""
    assert created(accepted(), VAGUE).status is Status.UNKNOWN


@pytest.mark.parametrize("attempt", range(9))
def test_the_pauses_before_sending_again_grow(attempt: int) -> None:
    """Each failed connection waits for the next pause of the schedule; the last one repeats."""
    payout = created(replace(accepted(), attempts=attempt + 1), NEVER, jitter=1.0)
    schedule = POLICY.submit_backoff
    pause = schedule[min(attempt, len(schedule) - 1)] * 1.1
    assert payout.due_at == T0 + SECOND + timedelta(seconds=pause)


def test_a_process_that_died_leaves_unknown() -> None:
    """When the lease is over, what was sent is unknown and asked about at once."""
    payout = accepted()
    step = lifecycle.on_lease_expired(payout, now=after_send(60))
    assert step is not None
    assert (step.after.status, step.after.due_at) == (Status.UNKNOWN, after_send(60))
    assert (step.after.first_sent_at, step.after.queries) == (T0, 0)


def test_a_lease_that_holds_is_left_alone() -> None:
    """A sender that may still be sending is not called dead."""
    assert lifecycle.on_lease_expired(accepted(), now=after_send(59.999)) is None


@pytest.mark.parametrize("status", [Status.QUEUED, *FOLLOWED, *ENDS])
def test_only_a_send_has_a_lease(status: Status) -> None:
    """Whatever else is due is not lapsed."""
    assert lifecycle.on_lease_expired(standing(status), now=after_send(10**6)) is None


def test_a_submitting_payout_without_lease_does_not_lapse() -> None:
    """The table forbids it; the code does not fall over it."""
    assert lifecycle.on_lease_expired(replace(accepted(), due_at=None), now=after_send(99)) is None


@pytest.mark.parametrize("status", [Status.QUEUED, *FOLLOWED, *ENDS])
@pytest.mark.parametrize("answer", [NEVER, LOST])
def test_a_sender_that_comes_back_late_moves_nothing(
    status: Status, answer: NeverSent | OutcomeUnknown
) -> None:
    """The lease was over and others went on: what the sender saw is kept as an event alone."""
    payout = standing(status)
    after = created(payout, answer)
    assert after.sequence == payout.sequence + 1
    assert (
        replace(
            after,
            sequence=payout.sequence,
            journal_hash=payout.journal_hash,
            updated_at=payout.updated_at,
        )
        == payout
    )


@pytest.mark.parametrize("answer", [NEVER, LOST])
def test_the_answer_to_an_old_claim_does_not_end_a_new_one(
    answer: NeverSent | OutcomeUnknown,
) -> None:
    """A payout that somebody else is sending stays under that sender's lease."""
    payout = accepted()
    after = created(payout, answer, claim_id="an older claim")
    assert (after.status, after.due_at) == (Status.SUBMITTING, payout.due_at)


def test_a_second_send_that_never_left_does_not_undo_the_first() -> None:
    """The first one may have left: the horizon goes on counting from it."""
    payout = replace(accepted(now=after_send(900)), first_sent_at=T0)
    after = created(payout, NEVER, now=after_send(901))
    assert (after.status, after.first_sent_at) == (Status.QUEUED, T0)


def test_epay_out_of_reach_for_days_is_shown_to_a_person() -> None:
    """The payout stays queued and goes on being tried, under a flag."""
    now = T0 + POLICY.review_after
    early = created(accepted(), NEVER, now=now - SECOND)
    late = created(accepted(), NEVER, now=now)
    assert early.review_reason is None
    assert late.status is Status.QUEUED
    assert late.review_reason == "unsent: EPAY could not be reached"
    assert late.review_since == now


def test_a_lost_answer_counts_as_a_look() -> None:
    """The backoff has begun."""
    assert unknown().queries == 1
