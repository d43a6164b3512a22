"""The comparison as CSV: one line per payout, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from ops.console import defused, when
from ops.daily_reconciliation.compare_day import Line
from ops.errors import UserError
from shared.domain.gateway import Report

Add = Callable[[Line], None]

_NO_REPORT = Report("query", None, None, None, None, None, None)
_CELLS: Mapping[str, Callable[[Line, Report], str]] = {
    "merchant_order_no": lambda line, _: defused(line.payout.merchant_order_no),
    "created_at": lambda line, _: when(line.payout.created_at),
    "status": lambda line, _: line.payout.status.value,
    "currency": lambda line, _: line.payout.currency,
    "amount": lambda line, _: _number(line.payout.amount),
    "fee": lambda line, _: _number(line.payout.fee),
    "epay_order_no": lambda line, epay: defused(epay.epay_order_no or line.payout.epay_order_no),
    "epay_status": lambda _, epay: defused(epay.status),
    "epay_currency": lambda _, epay: defused(epay.currency),
    "epay_amount": lambda _, epay: _number(epay.amount),
    "epay_fee": lambda _, epay: _number(epay.fee),
    "verdict": lambda line, _: line.compared.verdict.value,
    "words": lambda line, _: defused("; ".join(line.compared.reasons)),
}
"""The columns. The account number is none of them."""


@contextmanager
def csv_file(name: str | None) -> Iterator[Add]:
    """A function that writes a line to the file at once; without a file it does nothing.

    Args:
        name: of the file; - for stdout.

    Raises:
        UserError: the file cannot be written.
    """
    if name is None:
        yield lambda _line: None
    elif name == "-":
        yield csv_lines(sys.stdout)
    else:
        try:
            file = Path(name).open("w", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
        except OSError as error:
            raise UserError(f"{name} cannot be written: {error.strerror}") from error
        with file:
            yield csv_lines(file)


def csv_lines(file: TextIO) -> Add:
    """Write the header; the result writes a line."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_CELLS)

    def add(line: Line) -> None:
        epay = line.answer if isinstance(line.answer, Report) else _NO_REPORT
        writer.writerow([cell(line, epay) for cell in _CELLS.values()])

    return add


def _number(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"
