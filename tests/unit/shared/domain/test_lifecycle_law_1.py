"""Law 1: intent before effect. A payout is `submitting` under a lease before a byte leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain import lifecycle
from shared.domain.gateway import NeverSent
from shared.domain.payout import Status
from shared.domain.policy import Policy
from shared.domain.transitions import IllegalTransition
from tests.support.factories import (
    ABSENT,
    ENDS,
    FOLLOWED,
    NO_CODES,
    POLICY,
    T0,
    accepted,
    after_send,
    created,
    make_payout,
    queried,
    standing,
)

NOT_QUEUED = (Status.SUBMITTING, *FOLLOWED, *ENDS)


def test_accept_claims_in_the_same_step() -> None:
    """A new payout that is sent at once is on disk as submitting, not as queued."""
    step = lifecycle.accept(make_payout(), claim_id="c1", now=T0, policy=POLICY)
    assert (step.before, step.after.status, step.after.claim_id) == (None, Status.SUBMITTING, "c1")
    assert step.event is not None
    assert (step.event.status_before, step.event.status_after) == (None, Status.SUBMITTING)


@pytest.mark.parametrize("seconds", [1, 60, 300])
def test_accept_gives_the_lease_of_the_policy(seconds: int) -> None:
    """While a request may be on the wire, due_at is the end of the lease."""
    policy = Policy(lease=timedelta(seconds=seconds))
    assert accepted(policy).due_at == after_send(seconds)


def test_the_first_send_is_dated_before_it_happens() -> None:
    """The resend horizon counts from the claim, so a sender that dies has left its date."""
    payout = accepted()
    assert (payout.first_sent_at, payout.last_sent_at, payout.attempts) == (T0, T0, 1)


def test_enqueue_leaves_the_send_to_the_sweep() -> None:
    """A payout that somebody else will send is queued, due at once, and dates no send."""
    payout = lifecycle.accept_queued(make_payout(due_at=None), now=T0).after
    assert (payout.status, payout.due_at) == (Status.QUEUED, T0)
    assert (payout.attempts, payout.first_sent_at, payout.claim_id) == (0, None, None)


def test_begin_send_claims_a_queued_payout() -> None:
    """The sweep's way to a send is the same claim, under the same lease."""
    now = after_send(30)
    step = lifecycle.claim_for_submission(
        standing(Status.QUEUED), claim_id="c2", now=now, policy=POLICY
    )
    assert step is not None
    payout = step.after
    assert (payout.status, payout.claim_id) == (Status.SUBMITTING, "c2")
    assert payout.due_at == now + POLICY.lease
    assert (payout.first_sent_at, payout.last_sent_at, payout.attempts) == (now, now, 1)


@pytest.mark.parametrize("status", NOT_QUEUED)
def test_nothing_but_a_queued_payout_is_claimed(status: Status) -> None:
    """Two hints to send, or one that comes late, send once."""
    payout = standing(status)
    assert lifecycle.claim_for_submission(payout, claim_id="c2", now=T0, policy=POLICY) is None


@pytest.mark.parametrize("status", [*FOLLOWED, *ENDS])
def test_accept_of_what_may_be_at_epay_is_a_defect(status: Status) -> None:
    """The table of moves holds even where a caller is wrong."""
    with pytest.raises(IllegalTransition, match=f"{status} -> submitting"):
        lifecycle.accept(standing(status), claim_id="c2", now=T0, policy=POLICY)


def test_a_new_claim_forgets_what_was_said_of_the_last_send() -> None:
    """Refusal, absences and backoff belong to one send."""
    payout = created(accepted(), NeverSent("connection refused"))
    payout = replace(payout, refusal="EPAY code 9: no", absences=("x",), queries=7)
    step = lifecycle.claim_for_submission(payout, claim_id="c2", now=after_send(5), policy=POLICY)
    assert step is not None
    assert (step.after.refusal, step.after.absences, step.after.queries) == (None, (), 0)
    assert step.after.attempts == 2


def test_a_second_send_does_not_move_the_first() -> None:
    """first_sent_at stays where the horizon starts, last_sent_at follows the send."""
    payout = created(accepted(), NeverSent("connection refused"))
    payout = replace(payout, first_sent_at=T0)
    step = lifecycle.claim_for_submission(
        payout, claim_id="c2", now=after_send(50), policy=NO_CODES
    )
    assert step is not None
    assert (step.after.first_sent_at, step.after.last_sent_at) == (T0, after_send(50))


def test_no_query_is_believed_absent_while_the_request_is_on_the_wire() -> None:
    """A query that was under way when the claim came says nothing of this send."""
    payout = accepted()
    assert queried(payout, ABSENT, after_send(700)) is payout
