"""Why a person must look: how a reason is set, kept and taken back."""

from __future__ import annotations

import pytest

from shared.domain import review
from shared.domain.payout import PayoutState
from tests.support.factories import SECOND, T0, make_payout

LATER = T0 + 60 * SECOND
CODES = sorted(
    value for name, value in vars(review).items() if name.isupper() and isinstance(value, str)
)


def flagged(code: str) -> PayoutState:
    """A payout under that flag since T0."""
    return review.flag(make_payout(), code, "words", T0)


@pytest.mark.parametrize("code", CODES)
def test_a_reason_has_code_words_and_date(code: str) -> None:
    """The code can be read back, whatever the words."""
    payout = review.flag(make_payout(), code, "EPAY code 9: no: never", T0)
    assert payout.review_reason == f"{code}: EPAY code 9: no: never"
    assert payout.review_since == T0
    assert review.code_of(payout.review_reason) == code


@pytest.mark.parametrize("standing", CODES)
@pytest.mark.parametrize("code", CODES)
def test_what_only_a_person_settles_is_not_covered_by_less(standing: str, code: str) -> None:
    """Among equals the newer one stands, but for a second order; the same one keeps its date."""
    after = review.flag(flagged(standing), code, "new words", LATER)
    lesser = standing in review.STICKY and code not in review.STICKY
    if lesser or standing == review.SECOND_ORDER != code:
        assert after == flagged(standing)
    else:
        assert after.review_reason == f"{code}: new words"
        assert after.review_since == (T0 if standing == code else LATER)


@pytest.mark.parametrize("code", CODES)
def test_what_heals(code: str) -> None:
    """All but the reasons about money."""
    healed = review.clear_if_resolved(flagged(code))
    assert healed == (flagged(code) if code in review.STICKY else make_payout())


def test_nothing_to_heal() -> None:
    """A payout without reason stays as it is."""
    payout = make_payout()
    assert review.clear_if_resolved(payout) is payout


def test_words_are_cut() -> None:
    """EPAY's words may be long."""
    payout = review.flag(make_payout(), review.MISMATCH, "x" * 10_000, T0)
    assert payout.review_reason == "mismatch: " + "x" * 300


def test_a_reason_that_stands_keeps_its_date() -> None:
    """Taken back and set again in one step, it is as old as it was."""
    before = flagged(review.ABNORMAL)
    again = review.flag(review.clear_if_resolved(before), review.ABNORMAL, "new words", LATER)
    assert review.keep_review_since(again, before).review_since == T0


def test_another_reason_has_its_own_date() -> None:
    """Nor does one without reason get a date."""
    before = flagged(review.ABNORMAL)
    other = review.flag(make_payout(), review.OVERDUE, "words", LATER)
    assert review.keep_review_since(other, before).review_since == LATER
    assert review.keep_review_since(other, make_payout()).review_since == LATER
    assert review.keep_review_since(make_payout(), before).review_since is None
