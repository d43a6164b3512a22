"""CSV cells that no spreadsheet takes for a formula, and lengths of time in words."""

from __future__ import annotations

import pytest

from ops.console import age, defused


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        (None, ""),
        ("", ""),
        ("order-1", "order-1"),
        ("a=1", "a=1"),
        (" =1", " =1"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
    ],
)
def test_begin_of_a_formula_is_defused(text: str | None, cell: str) -> None:
    assert defused(text) == cell


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3661, "1 h 1 min"),
        (86_400, "1 d 0 h"),
        (400_000, "4 d 15 h"),
    ],
)
def test_age_is_said_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert age(seconds) == words
