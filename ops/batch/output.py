"""The output of a batch for people, pipes and programs."""

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

from ops.batch.row_validation import Line, Problem
from ops.batch.totals import Totals
from ops.console import as_json, err, note, out, print_table, say
from ops.wording.plural import counted

SHOWN = 20
"""Bad rows at most on a terminal: more would scroll the totals away."""


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
        return [
            {"row": row, "column": problem.column, "reason": problem.reason}
            for row, problem in self._kept or ()
        ]


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
    say(
        as_json(
            {
                "confirmed": confirmed,
                "rows": totals.rows,
                "blank_lines": blank_lines,
                "verdicts": dict(sorted(totals.counts.items())),
                "totals": totals.as_rows(),
                "problems": bad.as_rows(),
                "notes": list(notes),
            }
        )
    )


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, on a terminal only; yields a function that sets its count."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def print_next_steps(notes: Sequence[str]) -> None:
    """The notes, on stderr."""
    for line in notes:
        note(line)
