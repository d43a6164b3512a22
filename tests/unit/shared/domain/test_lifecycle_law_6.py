"""Law 6: a report counts only if order, account, amount and currency agree with the row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.domain import reports, transitions
from shared.domain.payout import PayoutState, Status
from tests.support.factories import (
    ENDS,
    FOLLOWED,
    OPEN,
    POLICY,
    SECOND,
    after_send,
    called_back,
    created,
    make_report,
    queried,
    standing,
    unknown,
)

OTHER: list[dict[str, Any]] = [
    {"merchant_order_no": "A-2"},
    {"merchant_order_no": None},
    {"epay_account": "other@example.com"},
    {"epay_account": None},
    {"amount": Decimal("10.01")},
    {"amount": Decimal(1000)},
    {"amount": None},
    {"currency": "EUR"},
    {"currency": "usd"},
    {"currency": None},
]
LATER = after_send(50)


def unmoved(before: PayoutState, after: PayoutState) -> bool:
    """Whether nothing of what the report said was taken over."""
    names = ("status", "epay_status", "epay_order_no", "fee", "finished_at", "refusal", "absences")
    return all(getattr(before, name) == getattr(after, name) for name in names)


@pytest.mark.parametrize("other", OTHER, ids=str)
@pytest.mark.parametrize("status", [Status.QUEUED, *FOLLOWED, *ENDS])
def test_a_report_that_disagrees_moves_nothing(status: Status, other: dict[str, Any]) -> None:
    """It is kept as an event and calls a person."""
    payout = standing(status)
    step = reports.on_callback(
        payout, make_report("7", "callback", **other), now=LATER, policy=POLICY, jitter=0.0
    )
    assert unmoved(payout, step.after)
    assert step.after.due_at == payout.due_at
    assert step.after.review_reason is not None
    assert step.after.review_reason.startswith("mismatch: callback says ")
    assert step.event is not None
    assert step.event.detail["disagrees"]


@pytest.mark.parametrize("other", OTHER, ids=str)
def test_a_query_that_disagrees_is_asked_again_later(other: dict[str, Any]) -> None:
    """The status stays, the next look is set by the backoff."""
    payout = unknown()
    after = queried(payout, make_report("7", **other), LATER)
    assert unmoved(payout, after)
    assert after.due_at == LATER + 60 * SECOND
    assert after.queries == payout.queries + 1


@pytest.mark.parametrize("other", OTHER, ids=str)
def test_a_create_that_disagrees_is_unknown(other: dict[str, Any]) -> None:
    """The request is over, and what came back is not about this payout."""
    payout = created(standing(Status.SUBMITTING), make_report("7", "create", **other))
    assert payout.status is Status.UNKNOWN
    assert (payout.epay_order_no, payout.epay_status) == (None, None)
    assert payout.due_at is not None
    assert payout.review_reason is not None


def test_a_query_that_disagrees_does_not_end_the_lease() -> None:
    """A payout that is being sent stays so."""
    payout = standing(Status.SUBMITTING)
    after = queried(payout, make_report("7", amount=Decimal(1)), LATER)
    assert (after.status, after.due_at) == (Status.SUBMITTING, payout.due_at)


@pytest.mark.parametrize("amount", ["10", "10.0", "10.00", "1E1", "10.000000"])
@pytest.mark.parametrize("status", OPEN)
def test_amounts_are_compared_as_decimals(status: Status, amount: str) -> None:
    """EPAY writes the same amount in many ways."""
    payout = queried(standing(status), make_report("7", amount=Decimal(amount)), LATER)
    assert (payout.status, payout.review_reason) == (Status.SUCCEEDED, None)


def test_a_report_without_status_says_nothing() -> None:
    """A status is documented as always present."""
    after = called_back(unknown(), make_report(None, "callback"))
    assert after.status is Status.UNKNOWN
    assert after.review_reason == "mismatch: callback says status missing"


def test_the_reason_names_both_sides() -> None:
    """A person sees what EPAY said and what we have."""
    after = called_back(
        unknown(), make_report("7", "callback", amount=Decimal("9.99"), currency=None)
    )
    assert after.review_reason == (
        "mismatch: callback says amount 9.99 instead of 10.00; currency missing instead of USD"
    )


def test_a_mismatch_stands_until_a_person_settles_it() -> None:
    """A good report moves the payout; the flag about money stays."""
    flagged = called_back(unknown(), make_report("7", "callback", amount=Decimal("9.99")))
    ended = queried(flagged, make_report("7"), LATER)
    assert ended.status is Status.SUCCEEDED
    assert (ended.review_reason, ended.review_since) == (
        flagged.review_reason,
        flagged.review_since,
    )


def test_a_lesser_reason_does_not_cover_a_mismatch() -> None:
    """Status 11 after a mismatch: the mismatch is what a person must see."""
    flagged = called_back(unknown(), make_report("7", "callback", amount=Decimal("9.99")))
    abnormal = queried(flagged, make_report("11"), LATER)
    assert abnormal.status is Status.PROCESSING
    assert abnormal.review_reason == flagged.review_reason


@pytest.mark.parametrize(("code", "reason"), [("2", "undocumented_status"), ("11", "abnormal")])
def test_a_strange_status_is_followed_and_flagged(code: str, reason: str) -> None:
    """No code that we do not know is an end."""
    payout = queried(unknown(), make_report(code), LATER)
    assert payout.status is Status.PROCESSING
    assert payout.review_reason is not None
    assert payout.review_reason.startswith(f"{reason}: EPAY status {code}")
    healed = queried(payout, make_report("1"), after_send(900))
    assert healed.review_reason is None


@pytest.mark.parametrize("code", ["2", "07", "7.0", " 7", "-7", "seven", "99"])
def test_a_code_that_nobody_documented_is_no_end(code: str) -> None:
    """Only the exact codes of EPAY's list end a payout."""
    assert transitions.status_from_epay(code) is Status.PROCESSING


def test_a_callback_on_the_way_does_not_put_off_the_next_query() -> None:
    """Whoever can make EPAY call back cannot keep us from asking."""
    payout = standing(Status.PROCESSING)
    after = called_back(payout, make_report("19", "callback"), now=LATER)
    assert (after.status, after.due_at) == (Status.PENDING_WITHDRAWAL, payout.due_at)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SUBMITTING])
def test_a_callback_that_comes_first_begins_the_following(status: Status) -> None:
    """The payout is followed from now on, from the first pause of the backoff."""
    after = called_back(standing(status), make_report("1", "callback"), now=LATER)
    assert (after.status, after.queries) == (Status.PROCESSING, 1)
    assert after.due_at == LATER + 30 * SECOND


@pytest.mark.parametrize("status", FOLLOWED)
def test_an_unsigned_callback_is_a_reason_to_ask_and_no_more(status: Status) -> None:
    """It is not believed; EPAY is asked at once."""
    payout = standing(status)
    step = reports.on_unverified_callback(payout, now=LATER - 40 * SECOND, detail={"status": "7"})
    assert unmoved(payout, step.after)
    assert step.after.due_at == LATER - 40 * SECOND
    assert step.after.review_reason is None
    assert step.event is not None
    assert (step.event.kind, step.event.actor) == ("callback_unverified", "anybody")


@pytest.mark.parametrize("status", [*OPEN, *ENDS])
def test_an_unsigned_callback_never_puts_anything_off(status: Status) -> None:
    """What is due stays due; a lease and a queue are left alone."""
    payout = standing(status)
    after = reports.on_unverified_callback(payout, now=after_send(10**6), detail={}).after
    assert (after.status, after.due_at) == (status, payout.due_at)
    early = reports.on_unverified_callback(payout, now=after_send(2), detail={}).after
    if status not in FOLLOWED:
        assert early.due_at == payout.due_at
