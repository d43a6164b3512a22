"""The verdict on each row of a batch, from the row itself and the rows before it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from ops.batch.csv_reader import REQUIRED, Row
from ops.wording.request_errors import describe_errors
from shared.contract import InvalidRequest
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.intake import alike, payout_from_request
from shared.domain.payout import PayoutState
from shared.identifiers import without_ruin
from shared.storage.bulk_insert import IntakeResult

_ORDER_NO = "merchant_order_no"
_NOTIFY = "notify_"


class RowVerdict(StrEnum):
    """The verdict on a row."""

    NEW = "new"
    """Not in the database."""
    ACCEPTED = "accepted"
    """Stored by this run."""
    THERE = "already there"
    """Requested before, with the same fields."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Problem:
    """One error of a row; its text holds no value of the row."""

    column: str
    """Empty if the row as a whole is wrong."""
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row with its verdict."""

    row: int
    verdict: RowVerdict
    payout: PayoutState | None
    """The requested payout; None if the row is not a valid request."""
    status: str | None = None
    """The status of the stored payout, if there is one."""
    problems: Sequence[Problem] = ()


class RowValidator:
    """Validates the rows of one file in order; keeps only their order numbers."""

    def __init__(
        self, accounts: ConfiguredAccounts, now: datetime, *, allow_alike: bool = False
    ) -> None:
        """`allow_alike`: see `shared.domain.intake.alike` and `payout_from_request`."""
        self._accounts = accounts
        self._now = now
        self._allow_alike = allow_alike
        self._first_row: dict[str, int] = {}
        self._first_alike: dict[str, int] = {}

    def validate(self, row: Row) -> Line:
        """The verdict on the next row, from the file only."""
        if row.problem is not None:
            return Line(row.number, RowVerdict.BAD, None, problems=(Problem("", row.problem),))
        payout, problems = self._read(row.cells)
        if not any(problem.column == _ORDER_NO for problem in problems):
            problems += self._repeated(row.cells[_ORDER_NO], row.number)
        verdict = RowVerdict.BAD if problems else RowVerdict.NEW
        return Line(row.number, verdict, payout, problems=problems)

    def _repeated(self, order_no: str, row: int) -> Iterator[Problem]:
        first = self._first_row.setdefault(order_no, row)
        first_alike = self._first_alike.setdefault(without_ruin(order_no), row)
        if first != row:
            yield Problem(_ORDER_NO, f"is also the order number of row {first}")
        elif first_alike != row and not self._allow_alike:
            yield Problem(
                _ORDER_NO,
                f"is the order number of row {first_alike}, but for case, leading zeros or .0"
                " (--allow-alike sends it all the same)",
            )

    def _read(self, cells: Mapping[str, str]) -> tuple[PayoutState | None, list[Problem]]:
        empty = [Problem(name, "is empty") for name in REQUIRED if not cells[name]]
        try:
            _, payout = payout_from_request(
                _kwargs(cells),
                accounts=self._accounts,
                now=self._now,
                nonce="",
                refuse_doubtful=not self._allow_alike,
            )
        except InvalidRequest as invalid:
            if invalid.all_errors is None:
                return None, [Problem(invalid.error["field"], invalid.error["message"])]
            named = {problem.column for problem in empty}
            found = [Problem(column, text) for column, text in describe_errors(invalid.all_errors)]
            return None, empty + [problem for problem in found if problem.column not in named]
        return payout, []


def good_payouts(lines: Sequence[Line]) -> list[PayoutState]:
    """The payouts of the lines without errors."""
    return [line.payout for line in lines if line.payout is not None and not line.problems]


def add_results(lines: Sequence[Line], results: Sequence[IntakeResult]) -> list[Line]:
    """The lines with the results of comparing or storing their good payouts."""
    found = {one.payout.merchant_order_no: one for one in results}
    return [
        line
        if line.payout is None or line.problems or line.payout.merchant_order_no not in found
        else _add_result(line, found[line.payout.merchant_order_no])
        for line in lines
    ]


def _add_result(line: Line, result: IntakeResult) -> Line:
    if result.alike is not None:
        problem = Problem(_ORDER_NO, alike(result.alike)["message"])
        return replace(line, verdict=RowVerdict.BAD, problems=(problem,))
    status = result.payout.status.value
    if result.conflicting:  # the order number belongs to a payout with other fields
        other = f"belongs to a payout with another {', '.join(result.conflicting)}"
        return replace(
            line, verdict=RowVerdict.BAD, status=status, problems=(Problem(_ORDER_NO, other),)
        )
    verdict = RowVerdict.ACCEPTED if result.is_new else RowVerdict.THERE
    return replace(line, verdict=verdict, status=status)


def _kwargs(cells: Mapping[str, str]) -> dict[str, Any]:
    """The kwargs of `payouts.request`; an empty cell is left out."""
    given = {name: cell for name, cell in cells.items() if cell}
    notify = {name: given.pop(_NOTIFY + name, None) for name in ("task", "queue")}
    return given | ({"notify": notify} if any(notify.values()) else {})
