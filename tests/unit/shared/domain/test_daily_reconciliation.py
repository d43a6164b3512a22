"""EPAY's word held against our row: what is a difference, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ops.resolution import actions
from ops.resolution.actions import Action, Decision
from shared.domain import daily_reconciliation, reports, review
from shared.domain.absence_proof import Control
from shared.domain.daily_reconciliation import Verdict
from shared.domain.gateway import NeverSent, OrderAnswer, Refused
from shared.domain.payout import PayoutState, Status, Transition
from tests.support.factories import (
    ABSENT,
    ENDS,
    FINAL_CODES,
    LOST,
    POLICY,
    T0,
    VAGUE,
    make_report,
    standing,
)
from tests.support.journal import assert_chained

TODAY = T0 + timedelta(days=1)
CODE_OF = {status: code for code, status in FINAL_CODES.items()}
AGREED, DIFFERS, UNANSWERED = Verdict.AGREED, Verdict.DIFFERS, Verdict.UNANSWERED


def compared(
    payout: PayoutState, answer: OrderAnswer, at: datetime = TODAY
) -> daily_reconciliation.Comparison:
    return daily_reconciliation.compare(
        payout, answer, asked_at=at, policy=POLICY, control=Control.PASSED
    )


def stepped(payout: PayoutState, answer: OrderAnswer, at: datetime = TODAY) -> Transition | None:
    return daily_reconciliation.reconcile(
        payout, answer, asked_at=at, now=at, policy=POLICY, jitter=0.0, control=Control.PASSED
    )[1]


def by_a_person(end: Status = Status.SUCCEEDED) -> PayoutState:
    """An end that a person gave an unknown payout."""
    decision = Decision(Action.ACCEPT_AS, "ann", "EPAY's support told so", end)
    unknown = standing(Status.UNKNOWN)
    return actions.decide(unknown, decision, ABSENT, now=TODAY, policy=POLICY).after


@pytest.mark.parametrize("end", FINAL_CODES.values())
def test_an_end_that_epay_shows_too_agrees(end: Status) -> None:
    """Nothing is written of it; trailing zeros and a fee left out say nothing."""
    payout = standing(end)
    for answer in (
        make_report(CODE_OF[end]),
        make_report(CODE_OF[end], fee=Decimal("0.300"), amount=Decimal("10.0")),
        make_report(CODE_OF[end], fee=None, epay_order_no=None),
    ):
        assert compared(payout, answer) == daily_reconciliation.Comparison(AGREED)
        assert stepped(payout, answer) is None


@pytest.mark.parametrize("end", FINAL_CODES.values())
@pytest.mark.parametrize(
    ("changes", "words", "code"),
    [
        ({"fee": Decimal("0.31")}, "fee 0.31 instead of 0.30", "books"),
        ({"epay_order_no": "E-10"}, "epayOrderNo E-10 instead of E-9", "second_order"),
        ({"amount": Decimal(11)}, "amount 11 instead of 10.00", "mismatch"),
        ({"currency": "EUR"}, "currency EUR instead of USD", "mismatch"),
        ({"currency": None}, "currency missing instead of USD", "mismatch"),
        ({"status": "1"}, "EPAY says processing (status 1), and it is", "books"),
        ({"status": "19"}, "EPAY says pending_withdrawal (status 19), and it is", "books"),
        ({"status": "11"}, "EPAY says processing (status 11), and it is", "contradiction"),
        ({"status": "77"}, "EPAY says processing (status 77), and it is", "contradiction"),
        ({"status": None}, "status missing", "mismatch"),
    ],
)
def test_a_difference_of_an_end_is_flagged_once_and_moves_nothing(
    end: Status, changes: dict[str, Any], words: str, code: str
) -> None:
    """Law 5: status, fee and EPAY's order number stay; one event, under one reason."""
    payout = standing(end)
    answer = make_report(**({"status": CODE_OF[end]} | changes))
    found = compared(payout, answer)
    assert found.verdict is DIFFERS
    assert words in "; ".join(found.reasons)
    step = stepped(payout, answer)
    assert step is not None
    assert step.event is not None
    assert (step.event.kind, step.event.actor, step.skip_if_already_recorded) == (
        "books",
        "books",
        True,
    )
    assert words in step.event.detail["differs"]
    after = step.after
    assert review.code_of(after.review_reason or "") == code
    assert after.review_since == TODAY
    kept = ("status", "fee", "epay_order_no", "epay_status", "amount", "finished_at", "due_at")
    assert [getattr(after, name) for name in kept] == [getattr(payout, name) for name in kept]
    assert after.sequence == payout.sequence + 1


@pytest.mark.parametrize("end", FINAL_CODES.values())
def test_another_end_is_a_contradiction(end: Status) -> None:
    """As in a callback: the lifecycle's own reason, not a second one."""
    for code, said in FINAL_CODES.items():
        if said is end:
            continue
        step = stepped(standing(end), make_report(code))
        assert step is not None
        assert (step.after.review_reason or "").startswith(f"contradiction: query says {said}")
        assert step.after.status is end


@pytest.mark.parametrize("end", FINAL_CODES.values())
def test_an_end_of_which_epay_knows_no_more(end: Status) -> None:
    """EPAY gave that end itself; its words may hold a number of the day, and are not repeated."""
    step = stepped(standing(end), Refused("404", "no such order, trace 4711"))
    assert step is not None
    assert step.event is not None
    words = f"EPAY has no such order (code 404), and it is {end}"
    assert step.event.detail == {"differs": words}
    assert step.after.review_reason == f"books: {words}"


def test_an_end_that_a_person_gave_is_not_missed_at_epay() -> None:
    """EPAY had none when the person decided; a fee nobody knew of is none to miss."""
    payout = by_a_person()
    assert compared(payout, ABSENT, TODAY + timedelta(days=1)).verdict is AGREED
    assert compared(payout, make_report("7"), TODAY + timedelta(days=1)).verdict is AGREED
    assert compared(payout, make_report("6"), TODAY + timedelta(days=1)).verdict is DIFFERS


def test_a_number_that_epay_names_after_the_end_is_learned_once() -> None:
    """Law 13: from then on another number is a second order."""
    payout = by_a_person()
    step = stepped(payout, make_report("7"), TODAY + timedelta(days=1))
    assert step is not None
    after = step.after
    assert (after.epay_order_no, after.status, after.review_reason) == ("E-9", "succeeded", None)
    assert stepped(after, make_report("7"), TODAY + timedelta(days=2)) is None
    second = stepped(after, make_report("7", epay_order_no="E-10"), TODAY + timedelta(days=2))
    assert second is not None
    assert review.code_of(second.after.review_reason or "") == "second_order"


def test_a_rejected_payout_that_epay_shows() -> None:
    """Whatever its status, and none of its fee."""
    payout = standing(Status.REJECTED)
    assert compared(payout, ABSENT).verdict is AGREED
    for code in ("1", "7", "6", "77"):
        step = stepped(payout, make_report(code))
        assert step is not None
        assert (step.after.status, step.after.fee) == (Status.REJECTED, None)
        assert (step.after.review_reason or "").startswith("contradiction: ")


@pytest.mark.parametrize(("code", "status"), [("1", "processing"), ("7", "succeeded")])
def test_a_queued_payout_that_epay_shows_moves_on_and_is_flagged(code: str, status: str) -> None:
    """It is not sent any more, and a person learns of it even when it has ended."""
    payout = standing(Status.QUEUED)
    assert compared(payout, ABSENT).verdict is AGREED
    assert stepped(payout, ABSENT) is None
    step = stepped(payout, make_report(code))
    assert step is not None
    words = f"EPAY says {status} (status {code}), and it is queued"
    assert (step.after.status, step.after.review_reason) == (status, f"books: {words}")
    assert review.is_sticky(step.after)
    assert not step.skip_if_already_recorded


def test_a_queued_payout_is_kept_back_each_time_epay_shows_another_under_its_number() -> None:
    """What a person settled yesterday does not let it be sent today."""
    payout = standing(Status.QUEUED)
    step = stepped(payout, make_report("1", amount=Decimal(11)))
    assert step is not None
    assert (step.after.status, step.skip_if_already_recorded) == (Status.QUEUED, False)
    assert (step.after.review_reason or "").startswith("mismatch: query says amount 11")


@pytest.mark.parametrize(
    "status", [Status.UNKNOWN, Status.PROCESSING, Status.PENDING_WITHDRAWAL, Status.SUBMITTING]
)
@pytest.mark.parametrize(
    "answer",
    [
        make_report("1"),
        make_report("7"),
        make_report("6", fee=None),
        make_report("7", amount=Decimal(1)),
        VAGUE,
    ],
)
def test_an_open_payout_takes_the_answer_as_it_takes_any(
    status: Status, answer: OrderAnswer
) -> None:
    """Step for step what the lifecycle makes of an answer to a query."""
    payout = standing(status)
    expected = reports.on_query_answer(
        payout,
        answer,
        asked_at=TODAY,
        now=TODAY,
        policy=POLICY,
        jitter=0.0,
        control=Control.PASSED,
    )
    assert stepped(payout, answer) == expected
    differs = answer == make_report("7", amount=Decimal(1))
    verdict = UNANSWERED if answer is VAGUE else DIFFERS if differs else AGREED
    assert compared(payout, answer).verdict is verdict


@pytest.mark.parametrize(
    ("status", "verdict", "reason"),
    [
        (Status.PROCESSING, DIFFERS, "vanished"),
        (Status.PENDING_WITHDRAWAL, DIFFERS, "vanished"),
        (Status.UNKNOWN, AGREED, None),
    ],
)
def test_no_such_order_of_a_payout_that_is_followed(
    status: Status, verdict: Verdict, reason: str | None
) -> None:
    """What EPAY had and has no more differs; unknown says nothing that it could deny."""
    payout = standing(status)
    assert compared(payout, ABSENT).verdict is verdict
    step = stepped(payout, ABSENT)
    assert step is not None
    standing_reason = step.after.review_reason
    assert (standing_reason and review.code_of(standing_reason)) == reason


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("answer", [LOST, NeverSent("refused"), VAGUE])
def test_no_answer_is_no_difference(status: Status, answer: OrderAnswer) -> None:
    """Neither agreed nor different; a row that is final is not touched."""
    payout = standing(status)
    assert compared(payout, answer).verdict is UNANSWERED
    if status in ENDS or answer is not VAGUE:
        assert stepped(payout, answer) is None


def test_a_refusal_does_not_repeat_the_account() -> None:
    """EPAY's words may name the payee."""
    payout = standing(Status.SUCCEEDED)
    found = compared(payout, Refused("500", f"busy with {payout.account_no}"))
    assert found.reasons == ("EPAY code 500: busy with ***",)


@pytest.mark.parametrize("answer", [ABSENT, make_report("1")])
def test_what_epay_said_before_the_end_is_no_difference(answer: OrderAnswer) -> None:
    """The question was under way when a callback brought the end."""
    payout = standing(Status.SUCCEEDED)
    before = payout.updated_at - timedelta(seconds=1)
    assert compared(payout, answer, before).verdict is UNANSWERED
    assert stepped(payout, answer, before) is None
    assert compared(payout, make_report("6"), before).verdict is DIFFERS
    assert compared(payout, make_report("1", amount=Decimal(1)), before).verdict is DIFFERS


def test_a_standing_reason_that_only_a_person_settles_is_not_covered_up() -> None:
    """The difference is an event all the same; the chain holds."""
    contradicted = stepped(standing(Status.SUCCEEDED), make_report("6"))
    assert contradicted is not None
    step = stepped(contradicted.after, make_report("7", fee=Decimal(9)))
    assert step is not None
    assert step.after.review_reason == contradicted.after.review_reason
    assert step.event is not None
    assert step.event.detail == {"differs": "fee 9 instead of 0.30"}
    first = replace(standing(Status.SUCCEEDED), sequence=0, journal_hash="0" * 64)
    one = stepped(first, make_report("6"))
    assert one is not None
    two = stepped(one.after, make_report("7", fee=Decimal(9)))
    assert two is not None
    assert_chained([one, two])


def test_the_same_difference_is_the_same_event() -> None:
    """By its kind and its words a day later; `once` keeps it off the journal."""
    payout = standing(Status.SUCCEEDED)
    one = stepped(payout, make_report("6"))
    assert one is not None
    two = stepped(one.after, make_report("6"), TODAY + timedelta(days=1))
    assert two is not None
    assert one.event is not None
    assert two.event is not None
    assert two.event.detail == one.event.detail


@pytest.mark.parametrize(
    ("now", "day"),
    [
        (datetime(2026, 3, 2, 6, tzinfo=UTC), date(2026, 3, 1)),
        (datetime(2026, 3, 2, 5, 59, 59, tzinfo=UTC), date(2026, 2, 28)),
        (datetime(2026, 3, 2, 1, tzinfo=UTC), date(2026, 2, 28)),
        (datetime(2026, 3, 2, 23, tzinfo=UTC), date(2026, 3, 1)),
    ],
)
def test_the_latest_day_has_been_over_for_a_while(now: datetime, day: date) -> None:
    """In UTC, whatever the zone of the machine."""
    assert daily_reconciliation.latest_day(now, timedelta(hours=6)) == day
    begin, end = daily_reconciliation.day_bounds(day)
    assert end + timedelta(hours=6) <= now
    assert (end - begin, begin.hour) == (timedelta(days=1), 0)
