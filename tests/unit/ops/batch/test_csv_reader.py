"""The files that are read as a batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.batch.csv_reader import opened
from ops.batch.row_validation import RowVerdict
from ops.errors import UserError
from tests.support.batch_rows import HEADER, lines, sheet

SECRET = "41111810111111111111"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty: its first line names merchant_order_no"),
        (f"a-1,10.50,USD,11,{SECRET}\n", "names no column of a request"),
        (f"{HEADER},{SECRET}\n", "column 6 is unknown"),
        (HEADER.replace("amount", "ammount"), "ammount (column 2) is unknown (is it amount?)"),
        (HEADER.replace(",account_no", ""), "account_no is missing"),
        (f"{HEADER},amount", "amount occurs twice"),
        (HEADER.replace(",", ";"), "not separated by commas"),
        (HEADER.encode("utf-16"), "UTF-16"),
        (f"{HEADER},\x1b[31m,\ud800\n".encode("utf-8", "surrogatepass"), "column 7 is unknown"),
    ],
)
def test_a_wrong_header_is_one_clear_error(text: str | bytes, words: str) -> None:
    """Before any row is looked at."""
    with pytest.raises(UserError) as caught:
        sheet(text)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Named, with the reason."""
    with (
        pytest.raises(UserError, match=r"none\.csv cannot be read"),
        opened(str(tmp_path / "none.csv")),
    ):
        pass


@pytest.mark.parametrize("begin", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_write(begin: str, end: str) -> None:
    """A byte order mark, their line ends, and empty columns at the right."""
    text = begin + end.join([f"{HEADER},,", "a,1,USD,11,U1,,", "b,1,USD,11,U1,,"])
    assert [(line.row, line.verdict) for line in lines(text)] == [
        (2, RowVerdict.NEW),
        (3, RowVerdict.NEW),
    ]
