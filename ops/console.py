"""Where the commands print: tables and colours on a terminal, plain text in a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console

PIPE_WIDTH = 250
"""Nothing is cut short where nobody looks at columns."""

out = Console(soft_wrap=True, emoji=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = PIPE_WIDTH
err = Console(stderr=True, soft_wrap=True, emoji=False)


def fail(message: str) -> None:
    """Say on stderr what went wrong."""
    err.print(f"payouts: {plain(message)}", style="red", markup=False, highlight=False)


def note(message: str) -> None:
    """Say on stderr what is no part of the answer."""
    err.print(plain(message), markup=False, highlight=False)


def say(message: str) -> None:
    """Print a line as it is."""
    out.print(plain(message), markup=False, highlight=False)


def plain(text: str) -> str:
    """The text without what a terminal would obey: EPAY and the asking apps wrote parts of it."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def as_json(value: Mapping[str, Any] | list[Any]) -> str:
    """Indented JSON; times as ISO 8601, amounts as decimal strings."""
    return json.dumps(value, default=_plain, indent=2, ensure_ascii=False)


def exact(amount: Decimal) -> str:
    """An amount for people: every digit that it has, and two decimal places at least."""
    whole = int(amount.as_tuple().exponent) > -2  # noqa: PLR2004 - cents
    return f"{amount:.2f}" if whole else f"{amount:f}"


def when(at: datetime | None) -> str:
    """A time for people: UTC, to the second."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    msg = f"{type(value).__name__} cannot be shown as JSON"
    raise TypeError(msg)
