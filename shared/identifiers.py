"""Identifiers that a spreadsheet has ruined, and order numbers that differ only by that. Pure.

The one rule for requests over Celery, `payouts batch`, `payouts enqueue` and `shared.producer`.
A text that says what is wrong holds no value.
"""

from __future__ import annotations

import re

_LONGEST = 200
"""Longer texts, and empty ones, are refused for their length."""
_PLAIN = re.compile(r"[A-Za-z_-]*[0-9]{5,}")
"""Nearly every identifier; none of the rules is about it."""
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?e[+-]\d+|[+-]?\d+\.\d*e\d+", re.IGNORECASE | re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d+\.\d*", re.ASCII)
_POINT_ZERO = re.compile(r"\d+\.0*", re.ASCII)
_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_DATE = re.compile(
    rf"\d{{1,2}}-{_MONTH}(-\d{{2,4}})?|{_MONTH}-\d{{2,4}}|\d{{4}}-(0[1-9]|1[0-2])-([0-2]\d|3[01])",
    re.IGNORECASE | re.ASCII,
)
_ADDED_AMOUNT = re.compile(r"[^@]+\+[\d.]+", re.ASCII)
_SEPARATORS = frozenset(",;/|")
_EMPTY = frozenset(
    {"", "null", "nan", "none", "n/a", "na", "nat", "nil", "undefined", "true", "false", "inf",
     "infinity"}
)  # fmt: skip
_PUNCTUATION = re.compile(r"[^a-z0-9/]")


def fault_of_order_no(text: str) -> str | None:
    """What a spreadsheet made of an order number, or None."""
    if not 0 < len(text) <= _LONGEST or _PLAIN.fullmatch(text):
        return None
    if _POINT_ZERO.fullmatch(text):
        return "ends with .0: a spreadsheet made a decimal number of it"
    return _fault(text)


def fault_of_account_no(text: str) -> str | None:
    """What a spreadsheet or a copy made of a wallet account, or None.

    EPAY documents no form of it: digits, e-mail addresses, phone numbers with a `+` and the
    wallets' own numbers (P12345678, U1234567) pass.
    """
    if not 0 < len(text) <= _LONGEST or _PLAIN.fullmatch(text):
        return None
    if _DECIMAL.fullmatch(text):
        return "is a decimal number: a spreadsheet made it of the account"
    return _fault(text) or _fault_of_copy(text)


def without_ruin(order_no: str) -> str:
    """What is left of an order number without `.0`, leading zeros and case."""
    return re.sub(r"^0+|\.0*$", "", order_no.lower())


def _fault(text: str) -> str | None:
    if text.startswith(("'", "=")) or '"' in text:
        return "has a mark of a spreadsheet: ' or = at its begin, or a quotation mark"
    if text.startswith("#"):
        return "is an error of a spreadsheet, like #N/A"
    if _PUNCTUATION.sub("", text.lower()) in _EMPTY and text.isascii():
        return "stands for an empty cell, like NULL or nan"
    if _EXPONENT.fullmatch(text):
        return "is a number with an exponent, like 4.1E+11: a spreadsheet cut its digits off"
    if _DATE.fullmatch(text):
        return "is a date: a spreadsheet made it of a number"
    return None


def _fault_of_copy(text: str) -> str | None:
    if not text.isascii():
        return "has a letter or digit that only looks like a plain one (A to Z, 0 to 9)"
    if " " in text or _SEPARATORS & set(text):
        return "has a blank or one of , ; / |: are there two accounts in it?"
    if _ADDED_AMOUNT.fullmatch(text):
        return "ends with + and a number: is an amount in it?"
    return None
