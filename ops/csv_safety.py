"""Cells of a CSV file that no spreadsheet runs."""

from __future__ import annotations

_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def defused(text: str | None) -> str:
    """A text that is not taken for a formula: an apostrophe goes before what would begin one."""
    if not text:
        return ""
    return f"'{text}" if text.startswith(_STARTS_FORMULA) else text
