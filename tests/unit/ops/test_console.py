"""CSV cells that no spreadsheet takes for a formula."""

from __future__ import annotations

import pytest

from ops.console import defused


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
