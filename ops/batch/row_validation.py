"""What is to be said of each row of a batch, from the row itself and those before it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from ops.batch.csv_reader import REQUIRED, Row
from ops.wording.request_errors import what_is_wrong
from shared.contract import InvalidRequest
from shared.domain.intake import payout_from_request
from shared.domain.payout import PayoutState

_ORDER_NO = "merchant_order_no"
_NOTIFY = "notify_"


class RowVerdict(StrEnum):
    """The verdict on a row."""

    NEW = "new"
    """It would be accepted."""
    ACCEPTED = "accepted"
    """It is on disk, by this run."""
    THERE = "already there"
    """It was asked for before, with the same fields."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a row; no value of the row is in its words."""

    column: str
    """Empty where it is the row as a whole."""
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row with its verdict."""

    row: int
    said: RowVerdict
    payout: PayoutState | None
    """What is asked for; None where the row is no request."""
    status: str | None = None
    """Where the payout stands, if there is one."""
    problems: Sequence[Problem] = ()


class RowValidator:
    """Judges the rows of one file in order; remembers their order numbers, and nothing else."""

    def __init__(self, columns: Sequence[str], account: str, now: datetime) -> None:
        self._columns = columns
        self._account = account
        self._now = now
        self._first_row: dict[str, int] = {}

    def validate(self, row: Row) -> Line:
        """The verdict on the next row, as far as the file alone decides it."""
        if row.problem is not None:
            return Line(row.number, RowVerdict.BAD, None, problems=(Problem("", row.problem),))
        cells = dict(zip(self._columns, row.cells, strict=True))
        payout, problems = self._read(cells)
        if not any(problem.column == _ORDER_NO for problem in problems):
            first = self._first_row.setdefault(cells[_ORDER_NO], row.number)
            if first != row.number:
                problems.append(Problem(_ORDER_NO, f"is the order number of row {first} too"))
        said = RowVerdict.BAD if problems else RowVerdict.NEW
        return Line(row.number, said, payout, problems=problems)

    def _read(self, cells: Mapping[str, str]) -> tuple[PayoutState | None, list[Problem]]:
        empty = [Problem(name, "is empty") for name in REQUIRED if not cells[name]]
        try:
            _, payout = payout_from_request(
                _kwargs(cells), account=self._account, now=self._now, nonce=""
            )
        except InvalidRequest as invalid:
            if invalid.all_errors is None:
                return None, [Problem(invalid.error["field"], invalid.error["message"])]
            named = {problem.column for problem in empty}
            found = [
                Problem(column, reason) for column, reason in what_is_wrong(invalid.all_errors)
            ]
            return None, empty + [problem for problem in found if problem.column not in named]
        return payout, []


def conflicting(line: Line, standing: PayoutState, fields: Sequence[str]) -> Line:
    """The verdict on a row whose order number is another payout's."""
    problem = Problem(_ORDER_NO, f"stands for a payout with another {', '.join(fields)}")
    return Line(line.row, RowVerdict.BAD, line.payout, standing.status.value, (problem,))


def _kwargs(cells: Mapping[str, str]) -> dict[str, Any]:
    """The kwargs of `payouts.request`; an empty cell is none."""
    given = {name: cell for name, cell in cells.items() if cell}
    notify = {name: given.pop(_NOTIFY + name, None) for name in ("task", "queue")}
    return given | ({"notify": notify} if any(notify.values()) else {})
