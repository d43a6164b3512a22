"""Law 16: age is judged by age, whatever a payout is stuck on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain import review, scheduling
from shared.domain.payout import Status
from tests.support.factories import ENDS, OPEN, POLICY, T0, make_payout, standing

OLD = T0 + POLICY.review_after


@pytest.mark.parametrize("status", OPEN)
def test_an_open_payout_that_is_old_is_flagged(status: Status) -> None:
    payout = standing(status)
    made = scheduling.on_overdue(payout, now=OLD, policy=POLICY)
    assert made is not None
    assert made.event is not None
    assert made.event.kind == "overdue"
    assert review.code_of(made.after.review_reason or "") == review.OVERDUE
    assert (made.after.status, made.after.due_at) == (payout.status, payout.due_at)
    assert scheduling.on_overdue(made.after, now=OLD, policy=POLICY) is None


@pytest.mark.parametrize("status", ENDS)
def test_an_end_is_never_overdue(status: Status) -> None:
    assert scheduling.on_overdue(standing(status), now=OLD, policy=POLICY) is None


def test_a_young_payout_is_not_overdue() -> None:
    payout = standing(Status.QUEUED)
    before = T0 + POLICY.review_after * 0.999
    assert scheduling.on_overdue(payout, now=before, policy=POLICY) is None


def test_a_reason_that_stands_is_kept() -> None:
    payout = replace(
        make_payout(), review_reason=f"{review.MISMATCH}: another amount", review_since=T0
    )
    assert scheduling.on_overdue(payout, now=OLD, policy=POLICY) is None
