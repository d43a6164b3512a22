"""Law 5: final is final. A later report that contradicts is for a person."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from shared.domain import lifecycle, reports, transitions
from shared.domain.gateway import NeverSent, OrderAnswer
from shared.domain.payout import PayoutState, Status
from shared.domain.transitions import FINAL, TRANSITIONS, IllegalTransition
from tests.support.factories import (
    ABSENT,
    DEFINITE,
    ENDS,
    FINAL_CODES,
    LOST,
    OPEN,
    POLICY,
    VAGUE,
    after_send,
    called_back,
    created,
    make_report,
    queried,
    standing,
)

LATER = after_send(500)


def kept(payout: PayoutState) -> dict[str, Any]:
    """What an end must keep."""
    names = ("status", "due_at", "finished_at", "epay_status", "epay_order_no", "fee", "amount")
    return {name: getattr(payout, name) for name in names}


def test_the_ends_are_those_of_the_design() -> None:
    """Five by EPAY, one before EPAY."""
    assert frozenset(ENDS) == FINAL
    assert len(FINAL) == 6


@pytest.mark.parametrize("status", ENDS)
def test_no_move_leaves_an_end(status: Status) -> None:
    """The table of moves has none."""
    assert TRANSITIONS[status] == frozenset()


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("target", list(Status))
def test_the_code_cannot_leave_an_end(status: Status, target: Status) -> None:
    """A move out of an end is a defect, and is stopped as one."""
    payout = standing(status)
    if target is status:
        assert transitions.transition(payout, target) is payout
        return
    with pytest.raises(IllegalTransition):
        transitions.transition(payout, target)


@pytest.mark.parametrize("status", ENDS)
def test_an_end_is_due_never_again(status: Status) -> None:
    """Nothing is due, and it is dated."""
    payout = standing(status)
    assert payout.due_at is None
    assert payout.finished_at == after_send(1)


@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize("code", FINAL_CODES)
def test_every_open_payout_can_end(status: Status, code: str) -> None:
    """Whatever we thought, EPAY's end is the end."""
    payout = queried(standing(status), make_report(code), LATER)
    assert (payout.status, payout.due_at) == (FINAL_CODES[code], None)
    assert (payout.finished_at, payout.epay_status) == (LATER, code)
    assert (payout.epay_order_no, payout.fee) == ("E-9", Decimal("0.30"))


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("code", FINAL_CODES)
@pytest.mark.parametrize("source", ["create", "query", "callback"])
def test_a_contradiction_is_flagged_and_overwrites_nothing(
    status: Status, code: str, source: str
) -> None:
    """The same end again is nothing new; another one calls a person."""
    payout = standing(status)
    said = make_report(code, source, fee=Decimal(99))
    if source == "create":
        after = created(payout, said, now=LATER)
    elif source == "query":
        after = queried(payout, said, LATER)
    else:
        after = called_back(payout, said, now=LATER)
    named = {"epay_order_no": "E-9"}  # EPAY's number of a rejected payout is news
    assert kept(after) == kept(payout) | named
    assert after.sequence == payout.sequence + 1
    if FINAL_CODES[code] is status:
        assert after.review_reason is None
    else:
        words = f"{source} says {FINAL_CODES[code]} (EPAY status {code}) after {status}"
        assert after.review_reason == f"contradiction: {words}"
        assert after.review_since == LATER


@pytest.mark.parametrize("code", ["1", "9", "19"])
def test_an_order_that_was_rejected_and_lives_is_a_contradiction(code: str) -> None:
    """EPAY said it never took it: any report of it is news."""
    after = called_back(standing(Status.REJECTED), make_report(code, "callback"))
    assert after.status is Status.REJECTED
    assert after.review_reason is not None
    assert after.review_reason.startswith("contradiction:")


@pytest.mark.parametrize("status", FINAL_CODES.values())
@pytest.mark.parametrize("code", ["0", "1", "9", "19"])
def test_an_older_report_that_comes_late_is_no_contradiction(status: Status, code: str) -> None:
    """Callbacks come in any order: what was true on the way is only put on record."""
    payout = standing(status)
    after = called_back(payout, make_report(code, "callback"))
    assert kept(after) == kept(payout)
    assert after.review_reason is None


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("answer", [VAGUE, DEFINITE, ABSENT, LOST, NeverSent("refused")])
def test_no_failure_reopens_an_end(status: Status, answer: OrderAnswer) -> None:
    """Neither a query's nor a create's."""
    payout = standing(status)
    assert queried(payout, answer, LATER) is payout
    assert kept(created(payout, answer, now=LATER)) == kept(payout)


@pytest.mark.parametrize("status", ENDS)
def test_nothing_else_reopens_an_end(status: Status) -> None:
    """An unsigned callback, another request and the sweep leave it alone."""
    payout = standing(status)
    unsigned = reports.on_unverified_callback(payout, now=LATER, detail={"status": "7"})
    conflict = lifecycle.on_conflict(payout, now=LATER, conflicting=["amount"])
    assert kept(unsigned.after) == kept(conflict.after) == kept(payout)
    assert lifecycle.on_lease_expired(payout, now=LATER) is None
    assert lifecycle.claim_for_submission(payout, claim_id="c9", now=LATER, policy=POLICY) is None


def test_a_contradiction_stands_until_a_person_settles_it() -> None:
    """A report that agrees again does not clear it."""
    flagged = called_back(standing(Status.SUCCEEDED), make_report("6", "callback"))
    again = called_back(flagged, make_report("7", "callback"), now=LATER)
    assert again.review_reason == flagged.review_reason
    assert again.review_since == flagged.review_since


def test_an_end_heals_what_was_flagged_on_the_way() -> None:
    """Overdue and abnormal are settled by ending."""
    flagged = queried(standing(Status.PROCESSING), make_report("11"), LATER)
    assert flagged.review_reason is not None
    ended = queried(flagged, make_report("7"), after_send(900))
    assert (ended.status, ended.review_reason, ended.review_since) == (Status.SUCCEEDED, None, None)


def test_a_report_without_fee_or_number_keeps_what_is_known() -> None:
    """What EPAY leaves out is not unsaid."""
    before = standing(Status.PROCESSING)
    after = called_back(before, make_report("7", "callback", epay_order_no=None, fee=None))
    assert (after.epay_order_no, after.fee) == ("E-9", Decimal("0.30"))
    assert replace(after, fee=None).status is Status.SUCCEEDED
