"""The rows and cells of a CSV file, without validation of the payouts."""

from __future__ import annotations

import csv
import difflib
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ops.console import counted
from ops.errors import UserError

if TYPE_CHECKING:
    import _csv

STDIN = "-"
REQUIRED = ("merchant_order_no", "amount", "currency", "channel_code", "account_no")
OPTIONAL = ("remark", "epay_account", "notify_task", "notify_queue")
COLUMNS = (*REQUIRED, *OPTIONAL)
_REQUIRED, _OPTIONAL = ", ".join(REQUIRED), ", ".join(OPTIONAL)

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_PLAIN_NAME = re.compile(r"[A-Za-z_ ]{1,40}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file."""

    number: int
    """The line of the file on which it begins; the header is line 1."""
    cells: Mapping[str, str]
    """By column."""
    problem: str | None = None
    """Why it cannot be read as a row."""


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """The file, or a temporary copy of stdin or of a pipe.

    Raises:
        UserError: it cannot be read.
    """
    with ExitStack() as stack:
        source: IO[bytes] = sys.stdin.buffer
        try:
            if name != STDIN:
                source = stack.enter_context(Path(name).open("rb"))
        except OSError as error:
            raise UserError(f"{name} cannot be read: {error.strerror}") from error
        if name == STDIN or not source.seekable():
            copy = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(source, copy)
            source = copy
        yield source


class Sheet:
    """The table in a file; it can be read several times, with one row at a time in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read the header.

        Raises:
            UserError: it is missing, or names other columns than those of a request.
        """
        self._file = file
        self.columns: tuple[str, ...] = ()
        self.blank_lines = 0
        """Counted by the last reading."""
        with closing(self.rows()) as rows:
            next(rows, None)

    def rows(self) -> Generator[Row]:
        """All rows except blank ones, from the first."""
        self._file.seek(0)
        self.blank_lines = 0
        if self._file.read(2) in _UTF_16:
            raise UserError("the file is UTF-16: save it as CSV in UTF-8")
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, "utf-8-sig", errors="surrogateescape", newline="")
        try:
            reader = csv.reader(text, strict=True)
            self.columns = _header(reader)
            yield from self._read(reader)
        finally:
            text.detach()

    def _read(self, reader: _csv.Reader) -> Iterator[Row]:
        width = len(self.columns)
        while True:
            first, problem = reader.line_num + 1, None
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                cells, problem = [], f"is not CSV ({error}): check the quotes"
            else:
                if not any(cell.strip() for cell in cells):
                    self.blank_lines += 1
                    continue
                while len(cells) > width and not cells[-1]:
                    cells.pop()
                if len(cells) != width:
                    problem = f"has {counted(len(cells), 'cell')}, and the header has {width}"
            if reader.line_num > first:
                problem = (
                    f"lines {first} to {reader.line_num} were read as one row: a quote is not"
                    " closed, or a cell has a line break"
                )
            yield Row(first, dict(zip(self.columns, cells, strict=False)), problem)


def _header(reader: _csv.Reader) -> tuple[str, ...]:
    try:
        columns = [cell.strip() for cell in next(reader)]
    except StopIteration:
        raise UserError(f"the file is empty: its first line names {_REQUIRED}") from None
    except csv.Error as error:
        raise UserError(f"the first line is not CSV: {error}") from None
    while columns and not columns[-1]:
        columns.pop()
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        raise UserError("the columns are not separated by commas: save the file with commas")
    problems = [f"{name} occurs twice" for name in COLUMNS if columns.count(name) > 1]
    problems += [f"{name} is missing" for name in REQUIRED if name not in columns]
    problems += [_unknown(nth, name) for nth, name in enumerate(columns, 1) if name not in COLUMNS]
    if not set(columns) & set(COLUMNS):
        raise UserError(
            f"the first line names no column of a request: it must name {_REQUIRED}, in any"
            f" order; {_OPTIONAL} are optional"
        )
    if problems:
        raise UserError(
            f"the columns in the first line are not those of a request: {'; '.join(problems)}."
            f" Required: {_REQUIRED}; optional: {_OPTIONAL}"
        )
    return tuple(columns)


def _unknown(nth: int, name: str) -> str:
    """Show the cell only if it looks like a name: without a header it may be an account."""
    near = difflib.get_close_matches(name, COLUMNS, n=1)
    shown = f"{name} (column {nth})" if _PLAIN_NAME.fullmatch(name) else f"column {nth}"
    return f"{shown} is unknown{f' (is it {near[0]}?)' if near else ''}"
