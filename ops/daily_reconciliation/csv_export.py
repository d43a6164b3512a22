"""The comparison as CSV: one line per payout, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import TextIO

from ops.console import defused, when
from ops.daily_reconciliation.compare_day import Line
from shared.domain.gateway import Report

COLUMNS = (
    "merchant_order_no",
    "created_at",
    "status",
    "currency",
    "amount",
    "fee",
    "epay_order_no",
    "epay_status",
    "epay_currency",
    "epay_amount",
    "epay_fee",
    "verdict",
    "words",
)
_NOTHING = Report("query", None, None, None, None, None, None)


class CsvLines:
    """Writes each line at once. Account numbers are not among the columns."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def add(self, line: Line) -> None:
        """Write one line."""
        payout = line.payout
        theirs = line.answer if isinstance(line.answer, Report) else _NOTHING
        self._writer.writerow(
            (
                defused(payout.merchant_order_no),
                when(payout.created_at),
                payout.status.value,
                payout.currency,
                _number(payout.amount),
                _number(payout.fee),
                defused(theirs.epay_order_no or payout.epay_order_no),
                defused(theirs.status),
                defused(theirs.currency),
                _number(theirs.amount),
                _number(theirs.fee),
                line.compared.verdict.value,
                defused("; ".join(line.compared.reasons)),
            )
        )


def _number(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"
