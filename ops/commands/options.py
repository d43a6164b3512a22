"""Arguments and options that several commands have."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from typer import Argument, BadParameter, Option

from ops.errors import UserError

_DURATION = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

OrderNo = Annotated[str, Argument(help="The order number of the requesting app.")]
Account = Annotated[
    str | None, Option("--account", "--epay-account", help="Only of this EPAY account.")
]
Name = Annotated[str, Option("--name", help="Who you are; it goes on record.")]
Reason = Annotated[str, Option("--reason", help="Why; it goes on record.")]
Json = Annotated[bool, Option("--json", help="Print JSON.")]

_LONGEST = {"--name": 100, "--reason": 1000}


def parse_line(option: str, text: str) -> str:
    """A text for the record: one printable line, not empty, of limited length."""
    line = " ".join(text.split())
    if not line or not line.isprintable() or len(line) > _LONGEST[option]:
        raise UserError(f"{option} must be 1 to {_LONGEST[option]} printable characters")
    return line


def parse_duration(text: str) -> timedelta:
    """A length of time: a number and a unit, `30s`, `15m`, `4h` or `2d`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise BadParameter(f"{text!r} is not a duration: write 30s, 15m, 4h or 2d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
