"""CSV cells that no spreadsheet takes for a formula."""

from __future__ import annotations

_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def defused(text: str | None) -> str:
    """The text, with an apostrophe before it if it would begin a formula."""
    if not text:
        return ""
    return f"'{text}" if text.startswith(_STARTS_FORMULA) else text
