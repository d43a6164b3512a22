"""The result of a batch as a CSV file: a line for each row, one more for each further problem.

No account number and no free text is in it, and of a row that is no request no value at all.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.batch.row_validation import Line, Problem
from ops.csv_safety import defused
from ops.errors import UserError

COLUMNS = (
    "row",
    "merchant_order_no",
    "amount",
    "currency",
    "channel_code",
    "verdict",
    "status",
    "column",
    "reason",
)
_NO_PROBLEM = Problem("", "")

Add = Callable[[Line], None]


@contextmanager
def result_file(path: Path | None) -> Iterator[Add]:
    """What writes each line to the file as it comes; without a file it does nothing.

    Raises:
        UserError: the file cannot be written, or is something else than an earlier result.
    """
    if path is None:
        yield lambda _line: None
        return
    _only_a_result(path)
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(f"the result cannot be written to {path}: {error.strerror}") from error
    with file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        yield lambda line: writer.writerows(_cells(line))


def _cells(line: Line) -> Iterator[list[object]]:
    payout = line.payout
    asked = (
        ["", "", "", ""]
        if payout is None
        else [payout.merchant_order_no, str(payout.amount), payout.currency, payout.channel_code]
    )
    values = [defused(value) for value in asked]
    for problem in line.problems or (_NO_PROBLEM,):
        yield [
            line.row,
            *values,
            line.said.value,
            line.status or "",
            problem.column,
            problem.reason,
        ]


def _only_a_result(path: Path) -> None:
    """Refuse to write over what is no result of ours: the batch itself, say."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            begins = file.read(len(",".join(COLUMNS)))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"the result cannot be written to {path}: {error.strerror}") from error
    if begins and begins != ",".join(COLUMNS):
        raise UserError(f"{path} is no result of a batch and is not written over: name another")
