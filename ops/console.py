"""Where the commands print: tables and colours on a terminal, plain text in a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

T = TypeVar("T")

PIPE_WIDTH = 250
"""Wide enough that no value is folded or cut in a pipe."""

_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r")

out = Console(soft_wrap=True, emoji=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = PIPE_WIDTH
err = Console(stderr=True, soft_wrap=True, emoji=False)


def fail(message: str) -> None:
    """Print an error on stderr."""
    err.print(f"payouts: {plain(message)}", style="red", markup=False, highlight=False)


def note(message: str) -> None:
    """Print on stderr what is not part of the answer."""
    say(message, err)


def say(message: str, to: Console = out) -> None:
    """Print a line as it is."""
    to.print(plain(message), markup=False, highlight=False)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    right: Collection[str] = (),
    fold: Collection[str] = (),
    to: Console = out,
) -> None:
    """Print a table.

    Args:
        columns: the headings.
        rows: the cells.
        title: stands above it.
        right: the columns that are right-aligned.
        fold: the columns that may take several lines; no other cell is broken.
        to: where to print.
    """
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=name not in fold,
        )
    for row in rows:
        table.add_row(*map(plain, row))
    to.print(table, markup=False, highlight=False)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values side by side."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, plain(value))
    out.print(grid, markup=False, highlight=False)


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """The items, with a progress bar on stderr, on a terminal only."""
    return track(items, what, total, console=err, transient=True, disable=not err.is_terminal)


def plain(text: str) -> str:
    """The text without terminal controls: EPAY and the requesting apps wrote parts of it."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def counted(count: int, noun: str) -> str:
    """`1 payout`, `2 payouts`: the count, and the noun in the number that fits it."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def defused(text: str | None) -> str:
    """A CSV cell that no spreadsheet takes for a formula: an apostrophe before its first sign."""
    if not text:
        return ""
    return f"'{text}" if text.startswith(_STARTS_FORMULA) else text


def as_json(value: Mapping[str, Any] | list[Any]) -> str:
    """Indented JSON; times as ISO 8601, amounts as decimal strings."""
    return json.dumps(value, default=_json_value, indent=2, ensure_ascii=False)


def exact(amount: Decimal) -> str:
    """An amount for people: all its digits, and at least two decimal places."""
    has_cents = int(amount.as_tuple().exponent) <= -2  # noqa: PLR2004 - cents
    return f"{amount:f}" if has_cents else f"{amount:.2f}"


def when(at: datetime | None) -> str:
    """A time for people: UTC, to the second."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def age(seconds: float) -> str:
    """A length of time for people, in its two largest units: `2 d 4 h`, `12 min 5 s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    first = next((nth for nth, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def _json_value(value: object) -> str:
    match value:
        case datetime():
            return value.isoformat()
        case Decimal():
            return str(value)
        case _:
            raise TypeError(f"{type(value).__name__} cannot be shown as JSON")
