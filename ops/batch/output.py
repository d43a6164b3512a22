"""What a person, a pipe or a program is told of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ops.batch.row_validation import Line, Problem
from ops.batch.totals import Totals
from ops.console import as_json, err, note, out, say

SHOWN = 20
"""Bad rows at most on a terminal: more would push the totals out of sight."""


class BadRows:
    """The bad rows: printed as they come, or kept for JSON."""

    def __init__(self, *, json: bool) -> None:
        self._kept: list[tuple[int, Problem]] | None = [] if json else None
        self._limit = SHOWN if out.is_terminal else None
        self._rows = 0

    def add(self, line: Line) -> None:
        """Tell of a row, if something is wrong with it."""
        if not line.problems:
            return
        self._rows += 1
        for problem in line.problems:
            if self._kept is not None:
                self._kept.append((line.row, problem))
            elif self._limit is None or self._rows <= self._limit:
                say(f"row {line.row}: {problem.column or 'the row'} {problem.reason}")

    def end(self) -> None:
        """Say how many were not shown."""
        if self._kept is None and self._limit is not None and self._rows > self._limit:
            say(f"... and {self._rows - self._limit} more: --result FILE or --json has them all")

    def as_rows(self) -> list[dict[str, Any]]:
        """All of them, for JSON."""
        return [
            {"row": row, "column": problem.column, "reason": problem.reason}
            for row, problem in self._kept or ()
        ]


def print_totals(totals: Totals, blank_lines: int) -> None:
    """Counts and sums for people."""
    counts = ", ".join(f"{totals.said[said]} {said.value}" for said in sorted(totals.said))
    blank = f", and {blank_lines} blank line(s)" if blank_lines else ""
    say(f"{totals.rows} row(s){blank}{': ' + counts if counts else ''}")
    if not totals.sums:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("verdict", "currency", "channel", "payouts", "amount"):
        table.add_column(name, justify="right" if name in {"payouts", "amount"} else "left")
    for row in totals.as_rows():
        table.add_row(*(str(value) for value in row.values()))
    out.print(table, markup=False, highlight=False)


def print_json(
    totals: Totals, blank_lines: int, bad: BadRows, words: Sequence[str], *, confirmed: bool
) -> None:
    """All of it for a program."""
    say(
        as_json(
            {
                "confirmed": confirmed,
                "rows": totals.rows,
                "blank_lines": blank_lines,
                "verdicts": {said.value: count for said, count in sorted(totals.said.items())},
                "totals": totals.as_rows(),
                "problems": bad.as_rows(),
                "notes": list(words),
            }
        )
    )


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, and on a terminal alone; call what it gives with how far it has come."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def print_next_steps(words: Sequence[str]) -> None:
    """What is to be known beside the answer, on stderr."""
    for line in words:
        note(line)
