"""Law 4: a refused create is not proof."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain import lifecycle
from shared.domain.gateway import NeverSent, Refused
from shared.domain.payout import PayoutState, Status
from shared.domain.transitions import FINAL
from tests.support.factories import (
    ABSENT,
    DEFINITE,
    LOST,
    NO_CODES,
    POLICY,
    T0,
    VAGUE,
    accepted,
    after_send,
    created,
    make_report,
    queried,
    standing,
    unknown,
)


def resent() -> PayoutState:
    """A payout under its second send, the first having been proved absent."""
    payout = unknown()
    for at in (10, 310, 610):
        payout = queried(payout, ABSENT, after_send(at))
    step = lifecycle.claim_for_submission(payout, claim_id="c2", now=after_send(611), policy=POLICY)
    assert step is not None
    return step.after


def test_a_definite_refusal_of_a_first_send_rejects() -> None:
    """EPAY never took it, and said so; its words are kept."""
    payout = created(accepted(), DEFINITE)
    assert (payout.status, payout.due_at) == (Status.REJECTED, None)
    assert payout.finished_at == after_send(1)
    assert payout.refusal == "EPAY code 422: account is closed"


@pytest.mark.parametrize("refused", [VAGUE, ABSENT, replace(DEFINITE, code="0422")])
def test_any_other_refusal_is_unknown(refused: Refused) -> None:
    """The code is not in the list: ask."""
    payout = created(accepted(), refused)
    assert payout.status is Status.UNKNOWN
    assert payout.due_at is not None
    assert payout.refusal == f"EPAY code {refused.code}: {refused.message}"


def test_without_configured_codes_no_refusal_is_definite() -> None:
    """EPAY documents no code: every refusal is asked about, and shown to a person."""
    payout = created(accepted(NO_CODES), DEFINITE, policy=NO_CODES)
    assert payout.status is Status.UNKNOWN
    assert payout.review_reason == "create_refused: EPAY code 422: account is closed"


def test_with_a_not_found_code_a_refusal_needs_no_person_yet() -> None:
    """The question can be settled by asking."""
    assert created(accepted(), VAGUE).review_reason is None


def test_a_definite_refusal_of_a_second_send_is_unknown() -> None:
    """It may refuse the second because it has the first."""
    payout = created(resent(), DEFINITE, claim_id="c2", now=after_send(612))
    assert payout.status is Status.UNKNOWN


def test_a_send_that_never_left_does_not_make_the_next_a_second() -> None:
    """What never left was no send."""
    payout = created(accepted(), NeverSent("connection refused"))
    step = lifecycle.claim_for_submission(payout, claim_id="c2", now=after_send(5), policy=POLICY)
    assert step is not None
    rejected = created(step.after, DEFINITE, claim_id="c2", now=after_send(6))
    assert rejected.status is Status.REJECTED


def test_refused_and_proved_absent_is_rejected() -> None:
    """Law 3's proof ends it: it is not sent again, EPAY has said no."""
    payout = created(accepted(), VAGUE)
    for at in (10, 310):
        payout = queried(payout, ABSENT, after_send(at))
        assert payout.status is Status.UNKNOWN
    payout = queried(payout, ABSENT, after_send(610))
    assert (payout.status, payout.due_at) == (Status.REJECTED, None)
    assert payout.refusal == "EPAY code 500: busy"
    assert payout.finished_at == after_send(610)


def test_refused_and_proved_absent_after_the_horizon_is_rejected_too() -> None:
    """The horizon is about sending again, and nothing is."""
    payout = created(accepted(), VAGUE)
    for at in (10, 310, 100_000):
        payout = queried(payout, ABSENT, after_send(at))
    assert payout.status is Status.REJECTED


def test_refused_and_there_after_all_is_what_epay_says() -> None:
    """A report counts for more than a refusal, and the refusal is forgotten."""
    payout = queried(created(accepted(), VAGUE), make_report("1"), after_send(31))
    assert (payout.status, payout.refusal) == (Status.PROCESSING, None)


def test_a_refusal_that_comes_after_the_lease_is_kept_and_asked_about() -> None:
    """The lease was over: the words count for law 4's end, but reject nothing by themselves."""
    lapsed = lifecycle.on_lease_expired(accepted(), now=after_send(60))
    assert lapsed is not None
    payout = created(lapsed.after, DEFINITE, now=after_send(61))
    assert payout.status is Status.UNKNOWN
    assert payout.due_at == lapsed.after.due_at
    assert payout.refusal == "EPAY code 422: account is closed"


@pytest.mark.parametrize("status", [Status.QUEUED, Status.PROCESSING, *sorted(FINAL)])
def test_a_refusal_that_comes_after_more_is_only_put_on_record(status: Status) -> None:
    """What is known better is not unsaid."""
    payout = standing(status)
    after = created(payout, DEFINITE)
    assert (after.status, after.due_at, after.refusal) == (status, payout.due_at, payout.refusal)
    assert after.sequence == payout.sequence + 1


def test_a_refusal_of_an_old_claim_does_not_end_the_new_send() -> None:
    """Whoever sends now is heard."""
    payout = created(resent(), DEFINITE, claim_id="c1", now=after_send(612))
    assert (payout.status, payout.refusal) == (Status.SUBMITTING, None)


def test_a_refusal_belongs_to_its_own_send() -> None:
    """A first refusal does not turn a later lost answer into a rejection."""
    payout = created(accepted(), LOST)
    assert payout.refusal is None
    for at in (10, 310, 610):
        payout = queried(payout, ABSENT, after_send(at))
    assert payout.status is Status.QUEUED


def test_a_late_refusal_without_codes_calls_a_person() -> None:
    """Also when the lease was over before the refusal came."""
    lapsed = lifecycle.on_lease_expired(accepted(NO_CODES), now=after_send(60))
    assert lapsed is not None
    payout = created(lapsed.after, VAGUE, now=after_send(61), policy=NO_CODES)
    assert payout.review_reason == "create_refused: EPAY code 500: busy"
    assert payout.first_sent_at == T0


DUPLICATE = Refused(code="409", message="merchantOrderNo exists")
KNOWN = replace(POLICY, duplicate_codes=frozenset({"409"}))


def test_a_duplicate_is_asked_about_and_never_rejected() -> None:
    """EPAY says that it has the order: neither absence nor another list makes that an end."""
    both = replace(KNOWN, refused_codes=frozenset({"409"}))
    for policy in (KNOWN, both):
        payout = created(accepted(policy), DUPLICATE, policy=policy)
        assert payout.status is Status.UNKNOWN
        for at in (10, 310, 610, 910):
            payout = queried(payout, ABSENT, after_send(at), policy=policy)
        assert payout.status is Status.UNKNOWN
        assert payout.review_reason is not None
        assert payout.review_reason.startswith("create_refused: EPAY code 409: merchantOrderNo")
    paid = queried(payout, make_report("7"), after_send(1000), policy=KNOWN)
    assert (paid.status, paid.review_reason) == (Status.SUCCEEDED, None)


def test_a_refused_create_is_asked_about_at_once() -> None:
    """Whether the refusal is about us shows only while we are still refused."""
    payout = created(accepted(), VAGUE, now=after_send(1))
    assert payout.due_at == after_send(1)
