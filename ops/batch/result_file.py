"""The result of a batch as a CSV file: a line per row, and one more for each further problem.

It holds neither account numbers nor free text, and no value of a row that is not a valid request.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ops.batch.row_validation import Line, Problem
from ops.console import defused
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
    """A function that writes a line to the file at once; without a file it does nothing.

    Raises:
        UserError: the file cannot be written, or is not the result of an earlier run.
    """
    if path is None:
        yield lambda _line: None
        return
    try:
        _require_result(path)
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(f"the result cannot be written to {path}: {error.strerror}") from error
    with file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        yield lambda line: writer.writerows(_cells(line))


def _cells(line: Line) -> Iterator[list[object]]:
    """The cells of each problem of a line, or of the line without a problem."""
    request = ["", "", "", ""]
    if (payout := line.payout) is not None:
        order, amount = payout.merchant_order_no, str(payout.amount)
        request = [order, amount, payout.currency, payout.channel_code]
    begin = [line.row, *map(defused, request), line.verdict.value, line.status or ""]
    for problem in line.problems or (_NO_PROBLEM,):
        yield [*begin, problem.column, problem.reason]


def _require_result(path: Path) -> None:
    """Refuse to overwrite a file that is not a result, for example the batch itself."""
    header = ",".join(COLUMNS)
    with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        if (begin := file.read(len(header))) and begin != header:
            raise UserError(
                f"{path} is not the result of a batch and is not overwritten: name another file"
            )
