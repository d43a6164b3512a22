"""Law 13: EPAY's order number, once named, is part of a payout's identity, after the end too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import lifecycle, reports, review
from shared.domain.gateway import Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.transitions import FINAL, status_from_epay
from tests.support.factories import (
    ENDS,
    FOLLOWED,
    POLICY,
    SECOND,
    after_send,
    make_report,
    standing,
)

LATER = after_send(50)
CODES = ["0", "1", "9", "11", "19", "77", "5", "6", "7", "8", "20"]
KEPT = ("status", "epay_order_no", "epay_status", "fee", "finished_at", "refusal")
NAMED = sorted((set(FOLLOWED) | set(ENDS)) - {Status.UNKNOWN, Status.REJECTED})
"""The statuses in which EPAY has named its number."""


def told(payout: PayoutState, report: Report, at: Any = LATER) -> Transition:
    """The payout after a report, from wherever it comes."""
    if report.source == "create":
        return lifecycle.on_create_answer(
            payout, report, claim_id=payout.claim_id or "c1", now=at, policy=POLICY, jitter=0.0
        )
    if report.source == "callback":
        return reports.on_callback(payout, report, now=at, policy=POLICY, jitter=0.0)
    step = reports.on_query_answer(payout, report, asked_at=at, now=at, policy=POLICY, jitter=0.0)
    assert step is not None
    return step


@pytest.mark.parametrize("status", NAMED)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("source", ["create", "query", "callback"])
def test_a_second_order_is_for_a_person_and_moves_nothing(
    status: Status, code: str, source: str
) -> None:
    """Whatever the second one's status, and although the end of the first one is the same."""
    payout = standing(status)
    step = told(payout, make_report(code, source, epay_order_no="E-10"))
    assert [getattr(step.after, name) for name in KEPT] == [getattr(payout, name) for name in KEPT]
    words = f"{source} says epayOrderNo E-10 instead of E-9"
    assert step.after.review_reason == f"second_order: {words}"
    assert review.is_sticky(step.after)
    assert step.event is not None
    assert (step.event.kind, step.event.detail["epay_order_no"]) == (f"{source}_report", "E-10")
    assert step.event.detail["disagrees"] == "epayOrderNo E-10 instead of E-9"


@pytest.mark.parametrize("status", NAMED)
@pytest.mark.parametrize("source", ["create", "query", "callback"])
def test_a_report_that_names_no_number_is_no_contradiction(status: Status, source: str) -> None:
    """What EPAY leaves out is not unsaid."""
    payout = standing(status)
    code = payout.epay_status or ""
    after = told(payout, make_report(code, source, epay_order_no=None)).after
    assert (after.status, after.review_reason, after.epay_order_no) == (status, None, "E-9")


def test_a_second_order_with_another_amount_is_a_second_order() -> None:
    """The reason that matters most, with all differences in its words."""
    after = told(
        standing(Status.SUCCEEDED), make_report("7", epay_order_no="E-10", amount=None)
    ).after
    words = "query says amount missing instead of 10.00; epayOrderNo E-10 instead of E-9"
    assert after.review_reason == f"second_order: {words}"


def test_a_second_order_is_covered_up_by_nothing() -> None:
    """Nor does a good report, or the end of the first one, clear it."""
    flagged = told(standing(Status.PROCESSING), make_report("7", epay_order_no="E-10")).after
    wrong = told(flagged, make_report("7", currency="EUR"), LATER + SECOND).after
    ended = told(wrong, make_report("7"), LATER + 2 * SECOND).after
    contradicted = told(ended, make_report("6"), LATER + 3 * SECOND).after
    assert (ended.status, contradicted.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    assert contradicted.review_reason == flagged.review_reason
    assert contradicted.review_since == LATER


def test_what_a_person_dismissed_comes_back_with_the_next_report() -> None:
    """A replay of the same callback too: it is flagged, hence recorded."""
    said = make_report("7", "callback", epay_order_no="E-10")
    flagged = told(standing(Status.SUCCEEDED), said)
    assert not flagged.skip_if_already_recorded
    assert told(flagged.after, said, LATER + SECOND).skip_if_already_recorded
    dismissed = review.clear_review(flagged.after)
    again = told(dismissed, said, LATER + SECOND)
    assert review.code_of(again.after.review_reason or "") == review.SECOND_ORDER
    assert not again.skip_if_already_recorded


@pytest.mark.parametrize("code", CODES)
def test_a_rejected_payout_takes_the_number_and_nothing_else(code: str) -> None:
    """The order that should not be is a contradiction; another one beside it is a second order."""
    payout = standing(Status.REJECTED)
    first = told(payout, make_report(code, "callback")).after
    assert (first.status, first.epay_order_no) == (Status.REJECTED, "E-9")
    assert review.code_of(first.review_reason or "") == review.CONTRADICTION
    second = told(first, make_report(code, "callback", epay_order_no="E-10")).after
    assert review.code_of(second.review_reason or "") == review.SECOND_ORDER


reported = st.builds(
    make_report,
    st.sampled_from(CODES),
    st.sampled_from(["create", "query", "callback"]),
    epay_order_no=st.sampled_from(["E-1", "E-2", None]),
)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from([Status.QUEUED, Status.SUBMITTING, Status.UNKNOWN, Status.REJECTED]),
    st.lists(st.one_of(reported, st.just("a person dismisses")), min_size=2, max_size=12),
)
def test_two_numbers_in_any_order_of_events(start: Status, said: list[Report | str]) -> None:
    """The first number named stays; each report of the other one is a review, never a status."""
    payout = standing(start)
    first: str | None = None
    for nth, report in enumerate(said):
        before = payout
        if isinstance(report, str):
            payout = review.clear_review(payout)
            continue
        step = told(payout, report, LATER + timedelta(minutes=nth))
        payout = step.after
        assert step.event is not None
        if first is not None and report.epay_order_no not in {None, first}:
            assert [getattr(payout, name) for name in KEPT] == [
                getattr(before, name) for name in KEPT
            ]
            assert review.code_of(payout.review_reason or "") == review.SECOND_ORDER
            assert step.event.detail["epay_order_no"] == report.epay_order_no
        elif before.status not in FINAL:
            assert payout.status is status_from_epay(report.status)
        first = first or report.epay_order_no
        assert payout.epay_order_no == first
