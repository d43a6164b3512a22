"""What each review code means."""

from __future__ import annotations

import pytest

from ops.wording.review_help import MEANS, means
from shared.domain import review

CODES = {value for name, value in vars(review).items() if name.isupper() and isinstance(value, str)}


def test_every_code_is_explained() -> None:
    assert set(MEANS) == CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_code_is_found_in_a_reason(code: str) -> None:
    assert means(f"{code}: EPAY code 9: busy") == MEANS[code]


@pytest.mark.parametrize("reason", [None, "", "another: text"])
def test_no_reason_and_an_unknown_code_have_no_text(reason: str | None) -> None:
    assert means(reason) == ""
