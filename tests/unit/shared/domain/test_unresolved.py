"""An unknown payout is flagged once its visibility delay is over, whatever kept the answer away."""

from __future__ import annotations

import pytest

from shared.domain import review
from shared.domain.absence_proof import Control
from shared.domain.gateway import NeverSent, OrderAnswer
from shared.domain.payout import Status
from tests.support.factories import (
    ABSENT,
    LOST,
    VAGUE,
    after_send,
    make_report,
    queried,
    standing,
    unknown,
)

AWAY: list[tuple[OrderAnswer, Control, str]] = [
    (LOST, Control.MISSING, review.UNANSWERED),
    (NeverSent("connection refused"), Control.MISSING, review.UNANSWERED),
    (VAGUE, Control.PASSED, review.QUERY_REFUSED),
    (VAGUE, Control.REFUSED, review.QUERY_REFUSED),
    (ABSENT, Control.REFUSED, review.QUERY_REFUSED),
    (ABSENT, Control.MISSING, review.NO_CONTROL),
    (ABSENT, Control.UNANSWERED, review.UNANSWERED),
]


@pytest.mark.parametrize(("answer", "control", "code"), AWAY)
def test_it_is_flagged_as_the_delay_ends(answer: OrderAnswer, control: Control, code: str) -> None:
    """Not before; and the words say until when it can be sent again."""
    assert queried(unknown(), answer, after_send(599), control=control).review_reason is None
    reason = queried(unknown(), answer, after_send(600), control=control).review_reason or ""
    assert review.code_of(reason) == code
    assert reason.endswith("; it can be sent again until 2026-01-06 12:00 UTC")
    late = queried(unknown(), answer, after_send(90_000), control=control).review_reason or ""
    assert late.endswith("; it is too late to send it again")


@pytest.mark.parametrize(("answer", "control", "code"), AWAY)
def test_an_answer_that_counts_clears_it(answer: OrderAnswer, control: Control, code: str) -> None:
    """A report, or an absence with its control."""
    flagged = queried(unknown(), answer, after_send(600), control=control)
    assert review.code_of(flagged.review_reason or "") == code
    assert queried(flagged, make_report("1"), after_send(660)).review_reason is None
    assert queried(flagged, ABSENT, after_send(660)).review_reason is None


def test_what_epay_has_is_not_flagged() -> None:
    for status in (Status.PROCESSING, Status.PENDING_WITHDRAWAL):
        assert queried(standing(status), LOST, after_send(5000)).review_reason is None


def test_queries_that_fail_back_off() -> None:
    """Three days without an answer are a few dozen queries, not one a minute."""
    payout, queries = unknown(), 0
    while payout.due_at is not None and payout.due_at < after_send(3 * 86_400):
        payout, queries = queried(payout, LOST, payout.due_at), queries + 1
    assert queries < 25
