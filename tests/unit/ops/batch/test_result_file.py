"""The file with a line for each row of a batch."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ops.batch.result_file import COLUMNS, result_file
from ops.errors import UserError
from tests.support.batch_rows import HEADER, lines, validated

SECRET = "41111810111111111111"


def test_the_result_has_a_line_for_each_problem_and_no_account(tmp_path: Path) -> None:
    """A row that is no request shows nothing but its number and what is wrong."""
    path = tmp_path / "result.csv"
    with result_file(path) as add:
        for line in lines(f"{HEADER}\n-1,1.5,USD,11,{SECRET}\n{SECRET},x,usd,11,U1\n"):
            add(line)
    assert SECRET not in path.read_text()
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    shown = ("row", "merchant_order_no", "amount", "column")
    assert [tuple(row[name] for name in shown) for row in rows] == [
        ("2", "'-1", "1.50", ""),
        ("3", "", "", "amount"),
        ("3", "", "", "currency"),
    ]  # fmt: skip
    with result_file(path):
        pass


@pytest.mark.parametrize("text", [f"{HEADER}\n", "my diary"])
def test_a_result_is_written_over_nothing_but_a_result(tmp_path: Path, text: str) -> None:
    """Least of all over the batch."""
    path = tmp_path / "may.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="is not overwritten"), result_file(path):
        pass
    assert path.read_text() == text


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    """A dry run leaves nothing behind unless it is told to."""
    with result_file(None) as add:
        add(validated("a,1,USD,11,U1"))
    nowhere = tmp_path / "no" / "r.csv"
    with pytest.raises(UserError, match="cannot be written"), result_file(nowhere):
        pass
