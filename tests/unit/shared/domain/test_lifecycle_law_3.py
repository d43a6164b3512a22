"""Law 3: `unknown` is resolved by asking, and sent again only on a proof of absence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain import lifecycle, reports, transitions
from shared.domain.gateway import NeverSent, OrderAnswer
from shared.domain.payout import PayoutState, Status
from shared.domain.policy import Policy
from tests.support.factories import (
    ABSENT,
    LOST,
    NO_CODES,
    POLICY,
    SECOND,
    T0,
    VAGUE,
    accepted,
    after_send,
    called_back,
    created,
    make_report,
    queried,
    standing,
    unknown,
)

SETTLED = 600


def absent_at(payout: PayoutState, *seconds: float, policy: Policy = POLICY) -> PayoutState:
    """The payout after EPAY did not know it at those times after the send."""
    for at in seconds:
        payout = queried(payout, ABSENT, after_send(at), policy=policy)
    return payout


def test_three_spread_absences_after_the_settle_time_queue_it_again() -> None:
    """The proof holds: due at once, under the same number, the first send still dated."""
    payout = absent_at(unknown(), 10, 310, 610)
    assert (payout.status, payout.due_at) == (Status.QUEUED, after_send(610))
    assert (payout.merchant_order_no, payout.first_sent_at) == ("A-1", T0)


@pytest.mark.parametrize(
    "times",
    [
        pytest.param((10, 310), id="two are too few"),
        pytest.param((610, 910), id="two are too few, however late"),
        pytest.param((10, 310, 599.9), id="the settle time is not over"),
        pytest.param((10, 309.9, 610), id="the second is too close to the first"),
        pytest.param((10, 400, 610), id="the third is too close to the second"),
        pytest.param((601, 602, 603, 604, 605), id="many in a burst are one"),
        pytest.param((0, 310, 610), id="one was asked as the send began"),
        pytest.param((-50, 310, 610), id="one was asked before the send"),
    ],
)
def test_less_than_the_proof_leaves_it_unknown(times: tuple[float, ...]) -> None:
    """Until the proof is whole the payout is asked about again."""
    payout = absent_at(unknown(), *times)
    assert payout.status is Status.UNKNOWN
    assert payout.due_at is not None
    assert payout.due_at > after_send(times[-1])


@pytest.mark.parametrize(
    "times",
    [
        pytest.param((300, 600, 900), id="exactly half the settle time apart"),
        pytest.param((1, 301, 600, 601), id="one more after a close one"),
        pytest.param((5000, 5300, 5600), id="all long after the settle time"),
    ],
)
def test_the_proof_at_its_edges(times: tuple[float, ...]) -> None:
    """What is just enough is enough, and the last answer completes it."""
    assert absent_at(unknown(), *times[:-1]).status is Status.UNKNOWN
    assert absent_at(unknown(), *times).status is Status.QUEUED


def test_the_settle_time_is_the_policy_s() -> None:
    """A longer settle time asks for wider spread answers."""
    policy = replace(POLICY, visibility_delay=timedelta(hours=1))
    assert absent_at(unknown(policy), 10, 310, 610, 910, policy=policy).status is Status.UNKNOWN
    assert absent_at(unknown(policy), 10, 1810, 3610, policy=policy).status is Status.QUEUED


def test_it_counts_when_the_query_began_not_when_it_was_answered() -> None:
    """An answer that took its time says how things stood when EPAY was asked."""
    payout = absent_at(unknown(), 10, 310)
    late = queried(payout, ABSENT, after_send(599), now=after_send(700))
    assert late.status is Status.UNKNOWN


def test_absences_of_an_earlier_send_do_not_count_for_a_later_one() -> None:
    """A second send has to be proved absent anew."""
    queued = absent_at(unknown(), 10, 310, 610)
    step = lifecycle.claim_for_submission(queued, claim_id="c2", now=after_send(620), policy=POLICY)
    assert step is not None
    again = created(step.after, LOST, claim_id="c2", now=after_send(640))
    assert again.absences == ()
    assert absent_at(again, 619, 630, 1230).status is Status.UNKNOWN
    assert absent_at(again, 630, 930, 1219).status is Status.UNKNOWN
    assert absent_at(again, 630, 930, 1230).status is Status.QUEUED


@pytest.mark.parametrize("code", ["404", "500", "0", "-1", "422"])
def test_without_a_configured_code_it_is_never_sent_again(code: str) -> None:
    """No documented code means "no such order": a person is called, nothing is sent."""
    payout = unknown(NO_CODES)
    for at in range(60, 200_000, 3600):
        payout = queried(payout, replace(ABSENT, code=code), after_send(at), policy=NO_CODES)
        assert payout.status is Status.UNKNOWN
    assert payout.absences == ()
    assert payout.review_reason is not None


@pytest.mark.parametrize("answer", [VAGUE, LOST, NeverSent("connection refused")])
def test_a_query_that_fails_changes_no_status(answer: OrderAnswer) -> None:
    """Neither a refusal for another reason nor a broken connection is an absence."""
    payout = unknown()
    for at in (10, 310, 610, 910, 1210):
        payout = queried(payout, answer, after_send(at))
    assert (payout.status, payout.absences) == (Status.UNKNOWN, ())


@pytest.mark.parametrize("answer", [LOST, NeverSent("connection refused")])
@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.PROCESSING, Status.PENDING_WITHDRAWAL])
def test_a_query_that_fails_only_sets_the_next_look(status: Status, answer: OrderAnswer) -> None:
    """No event: EPAY said nothing."""
    payout = standing(status)
    now = after_send(100)
    step = reports.on_query_answer(payout, answer, asked_at=now, now=now, policy=POLICY, jitter=0.0)
    assert step is not None
    assert step.event is None
    # it backs off: the first query was counted when the payout became unknown
    queries = payout.queries + 1
    assert step.after == replace(payout, due_at=now + timedelta(seconds=60), queries=queries)


@pytest.mark.parametrize("answer", [LOST, VAGUE, ABSENT])
@pytest.mark.parametrize("status", [Status.QUEUED, Status.SUBMITTING, Status.SUCCEEDED])
def test_a_late_query_of_what_is_not_followed_changes_nothing(
    status: Status, answer: OrderAnswer
) -> None:
    """Sent again or ended meanwhile: the answer is about the past."""
    step = reports.on_query_answer(
        standing(status),
        answer,
        asked_at=after_send(5),
        now=after_send(9),
        policy=POLICY,
        jitter=0.0,
    )
    assert step is None


def test_it_is_sent_again_up_to_the_horizon() -> None:
    """The last moment of the horizon still counts."""
    payout = absent_at(unknown(), 10, 310)
    assert absent_at(payout, 86_400).status is Status.QUEUED


def test_it_is_never_sent_again_after_the_horizon() -> None:
    """A proof that comes too late calls a person, and following goes on."""
    payout = absent_at(unknown(), 10, 310)
    late = absent_at(payout, 86_401)
    assert late.status is Status.UNKNOWN
    assert late.review_reason == "resend_horizon: EPAY code 404: order does not exist"
    assert late.due_at is not None
    assert absent_at(late, 90_000, 200_000).status is Status.UNKNOWN


def test_the_horizon_counts_from_the_first_send_not_the_last() -> None:
    """Sends that follow each other do not carry the horizon along."""
    queued = absent_at(unknown(), 10, 310, 610)
    step = lifecycle.claim_for_submission(
        queued, claim_id="c2", now=after_send(80_000), policy=POLICY
    )
    assert step is not None
    again = created(step.after, LOST, claim_id="c2", now=after_send(80_010))
    late = absent_at(again, 80_100, 80_400, 86_401)
    assert late.status is Status.UNKNOWN
    assert late.review_reason is not None
    assert late.review_reason.startswith("resend_horizon:")


def test_the_horizon_is_the_policy_s() -> None:
    """A shorter horizon ends sooner."""
    policy = replace(POLICY, resend_horizon=timedelta(seconds=700))
    assert absent_at(unknown(policy), 10, 310, 700, policy=policy).status is Status.QUEUED
    assert absent_at(unknown(policy), 10, 310, 701, policy=policy).status is Status.UNKNOWN


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.PENDING_WITHDRAWAL])
def test_an_order_that_epay_had_and_forgets_is_for_a_person(status: Status) -> None:
    """It moves nothing and sends nothing."""
    payout = absent_at(standing(status), 10, 310, 610, 910)
    assert payout.status is status
    assert payout.review_reason == "vanished: EPAY code 404: order does not exist"


def test_a_report_ends_the_counting() -> None:
    """EPAY has it after all: what was counted is forgotten, and the flag with it."""
    payout = absent_at(unknown(), 10, 310)
    told = queried(payout, make_report("1"), after_send(400))
    assert (told.status, told.absences) == (Status.PROCESSING, ())
    assert absent_at(told, 610, 1000, 1400).status is Status.PROCESSING


@pytest.mark.parametrize("code", ["0", "1", "9", "11", "19", "5", "6", "7", "8", "20"])
def test_a_query_or_a_callback_resolves_it(code: str) -> None:
    """Whatever EPAY has, unknown becomes what EPAY says."""
    meant = transitions.STATUS_OF_EPAY_CODE[code]
    assert queried(unknown(), make_report(code), after_send(31)).status is meant
    assert called_back(unknown(), make_report(code, "callback")).status is meant


def test_a_callback_finds_it_queued_again() -> None:
    """A verified report of a payout in the queue stops the second send."""
    queued = absent_at(unknown(), 10, 310, 610)
    told = called_back(queued, make_report("1", "callback"), now=after_send(611))
    assert told.status is Status.PROCESSING
    assert (
        lifecycle.claim_for_submission(told, claim_id="c2", now=after_send(612), policy=POLICY)
        is None
    )


def test_a_query_refused_after_the_settle_time_calls_a_person() -> None:
    """Until then it may be too early to ask; then somebody has to see EPAY's words."""
    assert queried(unknown(), VAGUE, after_send(599)).review_reason is None
    flagged = queried(unknown(), VAGUE, after_send(600))
    assert flagged.review_reason == (
        "query_refused: EPAY code 500: busy; it can be sent again until 2026-01-06 12:00 UTC"
    )
    assert queried(standing(Status.PROCESSING), VAGUE, after_send(700)).review_reason is None


def test_a_queue_by_proof_clears_a_lesser_flag() -> None:
    """The payout's own progress heals it."""
    flagged = queried(absent_at(unknown(), 10, 310), VAGUE, after_send(605))
    assert flagged.review_reason is not None
    assert absent_at(flagged, 615).review_reason is None


def test_an_unknown_payout_that_was_never_sent_is_not_reasoned_about() -> None:
    """The table forbids it; without a send nothing is proved."""
    payout = replace(unknown(), last_sent_at=None, first_sent_at=None)
    assert absent_at(payout, 10, 310, 610, 910).status is Status.UNKNOWN


def until_resolved(payout: PayoutState) -> float:
    """Seconds from the send until absence is proven, every query made when it is due."""
    for _ in range(10):
        assert payout.due_at is not None
        payout = queried(payout, ABSENT, payout.due_at)
        if payout.status is not Status.UNKNOWN:
            return (payout.updated_at - T0).total_seconds()
    raise AssertionError("never resolved")


def test_the_proof_ends_with_the_settle_time() -> None:
    """The three answers are planned to end there, not where the backoff happens to look."""
    killed = lifecycle.on_lease_expired(accepted(), now=after_send(60))
    assert killed is not None
    assert until_resolved(killed.after) == 660
    assert until_resolved(unknown()) == 631


def test_what_is_proven_and_cannot_be_resolved_backs_off() -> None:
    """Past the horizon a person decides; queries do not go on at the pace of a proof."""
    policy = replace(POLICY, resend_horizon=timedelta(seconds=60))
    payout = absent_at(unknown(policy), 10, 310, 610, policy=policy)
    assert payout.status is Status.UNKNOWN
    assert payout.due_at is not None
    for _ in range(5):
        payout = queried(payout, ABSENT, payout.due_at or T0, policy=policy)
    assert payout.due_at - after_send(610) > timedelta(hours=2)


def test_an_unknown_payout_is_asked_about_as_the_settle_time_ends() -> None:
    """Whatever kept answers away until then; jitter does not move it."""
    payout = queried(unknown(), LOST, after_send(590))
    assert payout.due_at == after_send(600)
    for jitter in (-1.0, 1.0):
        step = reports.on_query_answer(
            unknown(), LOST, asked_at=T0, now=after_send(599), policy=POLICY, jitter=jitter
        )
        assert step is not None
        assert step.after.due_at == after_send(600)


def test_looks_follow_the_backoff_and_then_daily() -> None:
    """An unknown payout is asked about by the schedule, after the review time once a day."""
    payout = unknown()
    pauses = []
    for _ in range(10):
        assert payout.due_at is not None
        now = payout.due_at
        payout = queried(payout, VAGUE, now)
        assert payout.due_at is not None
        pauses.append((payout.due_at - now).total_seconds())
    # the settle time is over 89 s after the third look: it is asked about at that moment
    assert pauses == [60, 120, 300, 89, 1800, 3600, 7200, 21_600, 21_600, 21_600]
    late = queried(payout, LOST, T0 + POLICY.review_after)
    assert late.due_at == T0 + POLICY.review_after + timedelta(days=1)
    assert late.review_reason == "overdue: no end since 2026-01-05"


def test_review_after_counts_from_the_first_send() -> None:
    """One second earlier nothing is flagged."""
    now = T0 + POLICY.review_after
    processing = standing(Status.PROCESSING)
    assert queried(processing, make_report("1"), now - SECOND).review_reason is None
    flagged = queried(processing, make_report("1"), now)
    assert flagged.review_reason is not None
    assert flagged.review_reason.startswith("overdue:")
    assert flagged.due_at == now + timedelta(days=1)


def test_review_after_counts_from_creation_without_a_send() -> None:
    """A payout that EPAY knows although we date no send is still followed to a flag."""
    payout = replace(standing(Status.PROCESSING), first_sent_at=None)
    flagged = queried(payout, make_report("1"), T0 + POLICY.review_after)
    assert flagged.review_reason is not None
