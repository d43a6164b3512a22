"""EPAY's answers to a query, in words."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ops.wording.gateway_answers import in_words
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            Report("query", "a", "o", "E-9", "7", Decimal(10), "USD", Decimal("0.305")),
            "EPAY answers status 7 (succeeded), EPAY order E-9, 10.00 USD, fee 0.305",
        ),
        (
            Report("query", "a", "o", None, "99", None, None),
            "EPAY answers status 99 (not documented), EPAY order -, no amount without currency",
        ),
        (Refused("2001", "no such order"), "EPAY answers code 2001: no such order"),
        (NeverSent("connection refused"), "EPAY could not be queried: connection refused"),
        (OutcomeUnknown("read timeout"), "EPAY could not be queried: read timeout"),
    ],
)
def test_answer_in_words(answer: OrderAnswer, words: str) -> None:
    assert in_words(answer) == words
