"""What a person may do: every act in every status on every answer of EPAY, and the laws."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.resolution import actions
from ops.resolution.actions import Action, Decision, NotAllowed, decide, possible_actions
from shared.domain import review
from shared.domain.absence_proof import Control
from shared.domain.gateway import NeverSent, OrderAnswer, Refused, Report
from shared.domain.lifecycle import accept_queued
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.transitions import FINAL, TRANSITIONS
from tests.support.factories import (
    ABSENT,
    DEFINITE,
    ENDS,
    FINAL_CODES,
    FOLLOWED,
    LOST,
    NO_CODES,
    POLICY,
    SECOND,
    T0,
    VAGUE,
    make_payout,
    make_report,
    queried,
    standing,
    unknown,
)
from tests.support.journal import independent_hash, independent_row_hash

SETTLED = T0 + POLICY.visibility_delay + 5 * SECOND
HELD_SINCE = T0 + 10 * SECOND
CODES = sorted(
    value for name, value in vars(review).items() if name.isupper() and isinstance(value, str)
)
KINDS = [review.OVERDUE, review.MISMATCH, review.ABOVE_CAP, review.RESEND_HORIZON]
"""A code of each kind: one that heals, one that stays, one that holds, one that is too late."""
ANSWERS: dict[str, OrderAnswer | None] = {
    "not asked": None,
    "never sent": NeverSent("connection refused"),
    "no answer": LOST,
    "absent": ABSENT,
    "definite": DEFINITE,
    "vague": VAGUE,
    **{
        f"status {code}": make_report(code)
        for code in ("0", "1", "5", "6", "7", "8", "9", "19", "20")
    },
    "status 11": make_report("11"),
    "status 77": make_report("77"),
    "status missing": make_report(None),
    "other amount, 7": make_report("7", amount=Decimal("9.99")),
    "other amount, 1": make_report("1", amount=Decimal("9.99")),
    "other account, 6": make_report("6", epay_account="x"),
}
REPORTS = {name for name, answer in ANSWERS.items() if isinstance(answer, Report)}
NO_WORD = {"status 11", "status 77", "status missing"}
"""Reports that do not say whether the order has ended."""
KEPT = {
    "id",
    "epay_account",
    "merchant_order_no",
    "amount",
    "currency",
    "channel_code",
    "account_no",
    "remark",
    "extend_fields",
    "notify",
    "nonce",
    "created_at",
    "first_sent_at",
    "last_sent_at",
    "attempts",
    "claim_id",
    "epay_status",
    "epay_order_no",
    "fee",
}
"""What no act of a person changes: whom, how much, what EPAY said, what was sent."""


def wish(act: Action, **changes: Any) -> Decision:
    """Ann wants it."""
    end = Status.SUCCEEDED if act is Action.ACCEPT_AS else None
    return replace(Decision(act, "Ann", "EPAY told us, ticket 7", end=end), **changes)


def tried(
    payout: PayoutState,
    decision: Decision | Action,
    answer: OrderAnswer | None = ABSENT,
    now: datetime = SETTLED,
    *,
    policy: Policy = POLICY,
    asked_at: datetime | None = None,
    control: Control = Control.PASSED,
) -> Transition | str:
    """The step, or in which words it is refused; a step is looked at from all sides."""
    decision = wish(decision) if isinstance(decision, Action) else decision
    try:
        step = decide(
            payout, decision, answer, now=now, policy=policy, asked_at=asked_at, control=control
        )
    except NotAllowed as refused:
        return str(refused)
    holds_the_laws(step, payout, decision, now)
    return step


def holds_the_laws(
    step: Transition, payout: PayoutState, decision: Decision, now: datetime
) -> None:
    """Whatever a person does: one event with name and reason, chained; due unless ended."""
    after, event = step.after, step.event
    assert step.before is payout
    assert event is not None
    assert (event.actor, event.at) == (f"person:{decision.person}", now)
    assert event.kind == decision.action.value.replace("-", "_")
    assert event.detail["reason"] == decision.reason
    assert (event.sequence, after.sequence) == (payout.sequence + 1, payout.sequence + 1)
    assert event.previous_hash == payout.journal_hash
    assert event.row_hash == independent_row_hash(after)
    assert event.hash == after.journal_hash == independent_hash(event, after)
    for name in KEPT:
        assert getattr(after, name) == getattr(payout, name), name
    assert after.status is payout.status or after.status in TRANSITIONS[payout.status]
    assert (after.due_at is None) == (after.finished_at is not None) == (after.status in FINAL)
    assert (after.review_reason is None) == (after.review_since is None)
    if payout.status in FINAL:
        assert (after.status, after.finished_at) == (payout.status, payout.finished_at)


def allowed(act: Action, **changes: Any) -> set[tuple[Status, str]]:
    """In which status and on which answer the act is done; the payout settled, in no review."""
    return {
        (status, name)
        for status in Status
        for name, answer in ANSWERS.items()
        if isinstance(tried(standing(status), wish(act, **changes), answer), Transition)
    }


def test_a_resend_needs_an_unknown_payout_that_epay_does_not_have() -> None:
    """Law 3: and EPAY must say so itself, just now, with a code that says it."""
    assert allowed(Action.RESEND) == {(Status.UNKNOWN, "absent")}


def test_a_reject_needs_that_epay_does_not_have_it() -> None:
    """What was never sent can be rejected while EPAY is away; what EPAY shows, never."""
    unsent = {(Status.QUEUED, name) for name in ANSWERS if name not in REPORTS}
    assert allowed(Action.REJECT) == {(Status.UNKNOWN, "absent")} | unsent


@pytest.mark.parametrize(("code", "end"), FINAL_CODES.items())
def test_an_end_is_accepted_only_where_epay_does_not_say_other(code: str, end: Status) -> None:
    """EPAY has no word on it, or says the same of it under another amount."""
    fitting = {"absent", f"status {code}"} | NO_WORD
    fitting |= {name for name in REPORTS if name.startswith("other") and name.endswith(f" {code}")}
    assert allowed(Action.ACCEPT_AS, end=end) == {
        (status, name) for status in FOLLOWED for name in fitting
    }


@pytest.mark.parametrize("end", [None, *sorted(set(Status) - set(FINAL_CODES.values()))])
def test_nothing_is_accepted_as_what_is_no_end_of_epay(end: Status | None) -> None:
    """In particular not as rejected: that is an act of its own."""
    assert allowed(Action.ACCEPT_AS, end=end) == set()


def test_an_answer_about_a_second_order_does_not_bind() -> None:
    """Law 13: it says nothing of the order that EPAY named first."""
    payout = standing(Status.PROCESSING)
    second = make_report("6", epay_order_no="E-10")
    assert isinstance(tried(payout, Action.ACCEPT_AS, second), Transition)
    assert isinstance(tried(payout, Action.ACCEPT_AS, make_report("6")), str)


def test_a_note_is_always_possible_and_changes_nothing() -> None:
    """Whatever EPAY says, in every status."""
    assert allowed(Action.NOTE) == {(status, name) for status in Status for name in ANSWERS}
    for status in Status:
        before = standing(status)
        step = tried(before, Action.NOTE, None)
        assert isinstance(step, Transition)
        assert replace(
            step.after,
            sequence=before.sequence,
            journal_hash=before.journal_hash,
            updated_at=before.updated_at,
        ) == (before)


def test_without_a_reason_for_review_there_is_nothing_to_release_or_settle() -> None:
    assert allowed(Action.RELEASE) == allowed(Action.DISMISS) == set()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("code", KINDS)
def test_nothing_leaves_an_end(end: Status, code: str) -> None:
    """Law 5: only the reason for review can be taken back."""
    payout = review.flag(standing(end), code, "words", HELD_SINCE)
    for act in set(Action) - {Action.DISMISS, Action.NOTE}:
        for answer in ANSWERS.values():
            assert isinstance(tried(payout, act, answer), str), act
    settled = tried(payout, Action.DISMISS, None)
    assert isinstance(settled, Transition)
    assert (settled.after.status, settled.after.review_reason) == (end, None)


@pytest.mark.parametrize("act", sorted(set(Action) - {Action.NOTE}))
def test_nobody_acts_while_a_worker_sends(act: Action) -> None:
    """The lease is the sender's; the refusal says until when."""
    payout = review.flag(standing(Status.SUBMITTING), review.BOOKS, "words", T0)
    words = tried(payout, act)
    assert isinstance(words, str)
    assert "a worker is sending it" in words
    assert f"{payout.due_at:%F %T}" in words


@pytest.mark.parametrize("code", CODES)
def test_what_may_be_sent_again_in_review(code: str) -> None:
    """Law 3: another order told of, or a cap, stands in the way until that is answered for."""
    held = code in review.HELD
    unsure = tried(review.flag(unknown(), code, "words", HELD_SINCE), Action.RESEND)
    assert isinstance(unsure, Transition) == (not held and code not in review.STICKY)
    queued = review.flag(standing(Status.QUEUED), code, "words", HELD_SINCE)
    assert isinstance(tried(queued, Action.RESEND), Transition) == (not held)
    released = tried(queued, Action.RELEASE, None)
    assert isinstance(released, Transition) == held
    settled = tried(queued, Action.DISMISS, None)
    assert isinstance(settled, str)
    assert "release, resend or reject" in settled


def test_a_resend_goes_back_to_the_queue_at_once() -> None:
    """Under the same number, with no reason left and nothing of the old proof."""
    payout = review.flag(queried(unknown(), ABSENT, SETTLED), review.OVERDUE, "words", SETTLED)
    assert payout.absences
    step = tried(payout, Action.RESEND, now=SETTLED + SECOND)
    assert isinstance(step, Transition)
    after = step.after
    assert (after.status, after.due_at) == (Status.QUEUED, SETTLED + SECOND)
    assert (after.review_reason, after.absences, after.refusal) == (None, (), None)
    assert step.event is not None
    assert step.event.detail["epay_code"] == "404"


def test_a_release_lets_it_pass_the_caps() -> None:
    held = review.flag(standing(Status.QUEUED), review.ABOVE_CAP, "words", HELD_SINCE)
    step = tried(held, Action.RELEASE, None)
    assert isinstance(step, Transition)
    assert (step.after.released_at, step.after.due_at) == (SETTLED, SETTLED)
    assert step.after.review_reason is None


@pytest.mark.parametrize("act", sorted(actions.ASKS_EPAY))
def test_what_was_sent_a_moment_ago_may_not_show_yet(act: Action) -> None:
    """Law 3: the settle time counts from the last send to the question, not to its answer."""
    payout = unknown()
    end = T0 + POLICY.visibility_delay
    early = tried(payout, act, ABSENT, end + SECOND, asked_at=end - SECOND)
    assert isinstance(early, str)
    assert "EPAY_SETTLE_SECONDS" in early
    assert isinstance(tried(payout, act, ABSENT, end + SECOND, asked_at=end), Transition)


def test_nothing_is_sent_again_past_the_horizon() -> None:
    """Law 3: not by a person either; it can be rejected, and asked for anew."""
    edge = T0 + POLICY.resend_horizon
    assert isinstance(tried(unknown(), Action.RESEND, now=edge), Transition)
    words = tried(unknown(), Action.RESEND, now=edge + SECOND)
    assert isinstance(words, str)
    assert "EPAY_RESEND_HORIZON_SECONDS" in words
    assert isinstance(tried(unknown(), Action.REJECT, now=edge + SECOND), Transition)


@pytest.mark.parametrize("act", [Action.RESEND, Action.REJECT])
def test_only_a_configured_code_says_no_such_order(act: Action) -> None:
    """A person who names another one is told which setting says so."""
    words = tried(unknown(), wish(act, code="500"), VAGUE)
    assert isinstance(words, str)
    assert "EPAY_NOT_FOUND_CODES" in words
    assert "500 (busy)" in words


@pytest.mark.parametrize("act", sorted(actions.ASKS_EPAY))
def test_without_a_configured_code_the_person_names_what_was_read(act: Action) -> None:
    """With another answer than the one that was read, nothing is done."""
    payout = unknown(NO_CODES)
    for read in (None, "500"):
        words = tried(payout, wish(act, code=read), ABSENT, policy=NO_CODES)
        assert isinstance(words, str)
        assert "--code 404" in words
    assert isinstance(tried(payout, wish(act, code="404"), ABSENT, policy=NO_CODES), Transition)


def test_a_refusal_that_is_no_absence_can_be_answered_for_at_an_end() -> None:
    """EPAY may refuse to tell of what is long over; accept-as takes that, if it was read."""
    payout = standing(Status.PROCESSING)
    assert isinstance(tried(payout, Action.ACCEPT_AS, VAGUE), str)
    assert isinstance(tried(payout, wish(Action.ACCEPT_AS, code="500"), VAGUE), Transition)


@pytest.mark.parametrize("answer", [None, NeverSent("no route"), LOST])
@pytest.mark.parametrize("act", sorted(actions.ASKS_EPAY))
def test_without_an_answer_nothing_is_decided(act: Action, answer: OrderAnswer | None) -> None:
    words = tried(unknown(), act, answer)
    assert isinstance(words, str)
    assert words.startswith("EPAY ")


def test_what_was_sent_and_came_back_is_rejected_only_on_epays_word() -> None:
    """Queued again after a first send that may have left: EPAY must be asked."""
    back = replace(accept_queued(make_payout(), now=T0).after, first_sent_at=T0, last_sent_at=T0)
    for name in ("not asked", "never sent", "no answer", "vague", *REPORTS):
        assert isinstance(tried(back, Action.REJECT, ANSWERS[name]), str), name
    assert isinstance(tried(back, Action.REJECT, ABSENT), Transition)


@pytest.mark.parametrize(
    "decision", [wish(Action.NOTE, person=" "), wish(Action.NOTE, reason="\n")]
)
def test_an_act_has_a_name_and_a_reason(decision: Decision) -> None:
    assert tried(unknown(), decision) == "an action needs a name and a reason"


REFUSALS = [
    (Status.PROCESSING, Action.RESEND, ABSENT, "it is processing: only an unknown payout"),
    (Status.SUCCEEDED, Action.RESEND, ABSENT, "it is succeeded: only an unknown payout"),
    (
        Status.UNKNOWN,
        Action.RESEND,
        make_report("1"),
        "EPAY shows the order (E-9, status 1): it is follow",
    ),
    (
        Status.UNKNOWN,
        Action.REJECT,
        make_report("7"),
        "EPAY shows the order (E-9, status 7): it is follow",
    ),
    (Status.PROCESSING, Action.REJECT, ABSENT, "it is processing: EPAY has it, or it is final"),
    (
        Status.UNKNOWN,
        Action.ACCEPT_AS,
        make_report("6"),
        "EPAY answers status 6 (failed): `payouts",
    ),
    (Status.UNKNOWN, Action.ACCEPT_AS, make_report("1"), "succeeded against EPAY's answer"),
    (Status.QUEUED, Action.ACCEPT_AS, ABSENT, "reject it instead"),
    (Status.FAILED, Action.ACCEPT_AS, ABSENT, "it is failed, and a final status does not change"),
    (Status.QUEUED, Action.RELEASE, None, "no cap holds it"),
    (Status.UNKNOWN, Action.DISMISS, None, "it is not in review"),
]


@pytest.mark.parametrize(("status", "act", "answer", "words"), REFUSALS)
def test_a_refusal_names_its_rule(
    status: Status, act: Action, answer: OrderAnswer | None, words: str
) -> None:
    told = tried(standing(status), act, answer)
    assert isinstance(told, str)
    assert words in told


def test_the_payees_account_does_not_get_on_record() -> None:
    """Neither out of EPAY's words nor out of the person's."""
    number = make_payout().account_no
    answer = Refused("404", f"no order for {number}")
    decision = wish(Action.RESEND, reason=f"EPAY: {number} unknown")
    step = decide(unknown(), decision, answer, now=SETTLED, policy=POLICY, control=Control.PASSED)
    assert step.event is not None
    assert number not in str(step.event.detail)
    with pytest.raises(NotAllowed) as refused:
        decide(
            unknown(NO_CODES),
            decision,
            answer,
            now=SETTLED,
            policy=NO_CODES,
            control=Control.PASSED,
        )
    assert number not in str(refused.value)


def test_an_end_that_a_person_accepts_is_told_to_the_asking_app() -> None:
    from shared.domain.notifications import messages_for

    step = tried(unknown(), wish(Action.ACCEPT_AS, end=Status.FAILED))
    assert isinstance(step, Transition)
    [message] = messages_for(step)
    assert (message.kwargs["status"], message.kwargs["previous_status"]) == ("failed", "unknown")


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("code", [None, *KINDS])
def test_every_act_that_is_possible_is_offered(status: Status, code: str | None) -> None:
    """And what no answer of EPAY can allow is not."""
    payout = standing(status)
    if code is not None:
        payout = review.flag(payout, code, "words", HELD_SINCE)
    possible = {
        act
        for act in Action
        for answer in ANSWERS.values()
        if isinstance(tried(payout, act, answer), Transition)
    }
    if code == review.RESEND_HORIZON:
        possible.discard(Action.RESEND)  # the flag says that the time is over, as it is not here
    assert {act for act, _ in possible_actions(payout)} == possible
    assert all(words for _, words in possible_actions(payout))


TIMES = st.integers(0, 200_000).map(lambda seconds: T0 + timedelta(seconds=seconds))


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(
    status=st.sampled_from(list(Status)),
    code=st.sampled_from([None, *CODES]),
    act=st.sampled_from(list(Action)),
    name=st.sampled_from(list(ANSWERS)),
    end=st.sampled_from([None, *Status]),
    read=st.sampled_from([None, "404", "500"]),
    codes=st.booleans(),
    now=TIMES,
    asked_at=TIMES,
    first=st.sampled_from([None, T0, T0 - timedelta(days=2)]),
)
def test_any_act_keeps_the_laws(
    *,
    status: Status,
    code: str | None,
    act: Action,
    name: str,
    end: Status | None,
    read: str | None,
    codes: bool,
    now: datetime,
    asked_at: datetime,
    first: datetime | None,
) -> None:
    """Whatever comes together: money moves again only on EPAY's word that it has no such order."""
    payout, answer = standing(status), ANSWERS[name]
    if first is not None and payout.last_sent_at is not None:
        payout = replace(payout, first_sent_at=first)
    if code is not None:
        payout = review.flag(payout, code, "words", T0)
    decision = wish(act, end=end, code=read)
    policy = POLICY if codes else NO_CODES
    step = tried(payout, decision, answer, now, policy=policy, asked_at=min(asked_at, now))
    if not isinstance(step, Transition):
        return
    after = step.after
    if after.status is Status.QUEUED and status is not Status.QUEUED:
        assert act is Action.RESEND
        assert isinstance(answer, Refused)
        assert answer.code == ("404" if codes else read)
        assert payout.first_sent_at is not None
        assert now - payout.first_sent_at <= policy.resend_horizon
        assert min(asked_at, now) - T0 >= policy.visibility_delay
    if after.status in FINAL and status not in FINAL:
        assert after.status is (Status.REJECTED if act is Action.REJECT else end)
        assert not (isinstance(answer, Report) and act is Action.REJECT)
    if after.status is status and status is not Status.QUEUED:
        assert act in {Action.DISMISS, Action.NOTE}
    if after.due_at is not None and after.due_at != payout.due_at:
        assert after.due_at <= now
