"""The totals and the output of a batch, for people, pipes and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from ops.batch.row_validation import Line, Problem, RowVerdict
from ops.console import as_json, counted, out, print_table, say

SHOWN = 20
"""Bad rows at most on a terminal: more would scroll the totals away."""


@dataclass
class Totals:
    """Counts and sums."""

    rows: int = 0
    counts: Counter[RowVerdict] = field(default_factory=Counter)
    sums: dict[tuple[RowVerdict, str, str], tuple[int, Decimal]] = field(default_factory=dict)
    """(verdict, currency, channel) -> how many payouts, and the sum of their amounts."""

    def add(self, line: Line) -> None:
        """Count one more row; the sums leave bad rows out."""
        self.rows += 1
        self.counts[line.verdict] += 1
        if line.payout is not None and line.verdict is not RowVerdict.BAD:
            key = (line.verdict, line.payout.currency, line.payout.channel_code)
            payouts, amount = self.sums.get(key, (0, Decimal(0)))
            self.sums[key] = payouts + 1, amount + line.payout.amount

    def as_rows(self) -> list[dict[str, Any]]:
        """The sums, sorted."""
        return [
            {
                "verdict": verdict.value,
                "currency": currency,
                "channel_code": channel_code,
                "payouts": payouts,
                "amount": str(amount),
            }
            for (verdict, currency, channel_code), (payouts, amount) in sorted(self.sums.items())
        ]


class BadRows:
    """The bad rows: printed at once, or kept for JSON."""

    def __init__(self, *, json: bool) -> None:
        self._kept: list[tuple[int, Problem]] | None = [] if json else None
        self._limit = SHOWN if out.is_terminal else None
        self._rows = 0

    def add(self, line: Line) -> None:
        """Print or keep the problems of a row."""
        if not line.problems:
            return
        self._rows += 1
        for problem in line.problems:
            if self._kept is not None:
                self._kept.append((line.row, problem))
            elif self._limit is None or self._rows <= self._limit:
                say(f"row {line.row}: {problem.column or 'the row'} {problem.reason}")

    def end(self) -> None:
        """Print how many were not shown."""
        if self._kept is None and self._limit is not None and self._rows > self._limit:
            say(f"... and {self._rows - self._limit} more: --result FILE or --json has them all")

    def as_rows(self) -> list[dict[str, Any]]:
        """All of them, for JSON."""
        return [{"row": row, **asdict(problem)} for row, problem in self._kept or ()]


def print_totals(totals: Totals, blank_lines: int) -> None:
    """Counts and sums for people."""
    counts = sorted(totals.counts.items())
    verdicts = ", ".join(f"{count} {verdict.value}" for verdict, count in counts)
    blank = f", and {counted(blank_lines, 'blank line')}" if blank_lines else ""
    say(f"{counted(totals.rows, 'row')}{blank}{': ' + verdicts if verdicts else ''}")
    if totals.sums:
        print_table(
            ("verdict", "currency", "channel", "payouts", "amount"),
            ([str(value) for value in row.values()] for row in totals.as_rows()),
            right={"payouts", "amount"},
        )


def print_json(
    totals: Totals, blank_lines: int, bad: BadRows, notes: Sequence[str], *, confirmed: bool
) -> None:
    """Everything, for a program."""
    document = {
        "confirmed": confirmed,
        "rows": totals.rows,
        "blank_lines": blank_lines,
        "verdicts": dict(sorted(totals.counts.items())),
        "totals": totals.as_rows(),
        "problems": bad.as_rows(),
        "notes": list(notes),
    }
    say(as_json(document))
