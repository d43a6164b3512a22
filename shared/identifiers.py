"""Identifiers that a spreadsheet has ruined, and order numbers that differ only by that. Pure.

The one rule for requests over Celery, `payouts batch`, `payouts enqueue` and `shared.producer`.
A fault is never right; a doubt may be right, so the sender of a file can confirm it. A text that
says what is wrong holds no value.
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
_MONTH = (
    "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"  # English
    "|mrz|mai|okt|dez|janv|fevr|mars|avr|juin|juil|sept|ene|abr|ago|dic|fev|mrt|mei)"
)
"""Without those of other languages with which order numbers begin: set, out, mag, gen, giu, lug."""
_DATE = re.compile(
    rf"\d{{1,2}}-{_MONTH}(-\d{{2,4}})?|{_MONTH}-\d{{2,4}}|\d{{4}}-(0[1-9]|1[0-2])-([0-2]\d|3[01])"
    r"|(0?[1-9]|[12]\d|3[01])\.(0?[1-9]|1[0-2])\.(19|20)\d\d",
    re.IGNORECASE | re.ASCII,
)
_MAYBE_DATE = re.compile(
    r"(0?[1-9]|[12]\d|3[01])-(0?[1-9]|[12]\d|3[01])-(19|20)\d\d"
    r"|(19|20)\d\d-(0?[1-9]|1[0-2])-(0?[1-9]|[12]\d|3[01])",
    re.ASCII,
)
"""An app may number its payouts so: 17-3-2026 is the 17th of March, or number 17 of that month."""
_TIME_OR_PERCENTAGE = re.compile(
    r"\d{1,2}:\d\d(:\d\d)?( ?[ap]m)?|[+-]?\d+([.,]\d+)? ?%", re.IGNORECASE | re.ASCII
)
_CUT = re.compile(r"[1-9]\d{14}0{3,}", re.ASCII)
"""A spreadsheet keeps 15 digits. With less than 18 too many right numbers end so."""
_ADDED_AMOUNT = re.compile(r"[^@]+\+[\d.]+", re.ASCII)
_SEPARATORS = frozenset(",;/|")
_EMPTY = frozenset(
    {"", "null", "nan", "none", "n/a", "na", "nat", "nil", "undefined", "inf", "infinity",
     "true", "false", "wahr", "falsch", "vrai", "faux", "verdadero", "falso", "verdadeiro", "vero",
     "waar", "onwaar", "prawda"}
)  # fmt: skip
_PUNCTUATION = re.compile(r"[^a-z0-9/]")
_DATE_FAULT = "is a date: a spreadsheet made it of a number"
_FAULT_OF_FORM = {
    _EXPONENT: "is a number with an exponent, like 4.1E+11: a spreadsheet cut its digits off",
    _DATE: _DATE_FAULT,
    _TIME_OR_PERCENTAGE: "is a time or a percentage: a spreadsheet made it of a number",
}
_TAKE_FROM_SOURCE = "take it from where it was typed"


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
    if _MAYBE_DATE.fullmatch(text):
        return _DATE_FAULT
    return _fault(text) or _fault_of_copy(text)


def doubt_about_order_no(text: str) -> str | None:
    """What a spreadsheet may have made of an intact order number, or None."""
    if _MAYBE_DATE.fullmatch(text):
        return f"looks like a date that a spreadsheet made of it: {_TAKE_FROM_SOURCE}"
    return doubt_about_account_no(text)


def doubt_about_account_no(text: str) -> str | None:
    """What a spreadsheet may have made of an intact wallet account, or None."""
    if _CUT.fullmatch(text):
        return (
            "has only zeros after its 15th digit, as if a spreadsheet had cut it:"
            f" {_TAKE_FROM_SOURCE}"
        )
    return None


def without_ruin(order_no: str) -> str:
    """What is left of an order number without `.0`, leading zeros and case."""
    return re.sub(r"^0+|\.0*$", "", order_no.lower())


def _fault(text: str) -> str | None:
    if text.startswith(("'", "=")) or '"' in text:
        return "has a mark of a spreadsheet: ' or = at its begin, or a quotation mark"
    if text.startswith("#"):
        return "is an error of a spreadsheet, like #N/A"
    if _PUNCTUATION.sub("", text.lower()) in _EMPTY and text.isascii():
        return "stands for an empty cell or a yes or no, like NULL, nan or TRUE"
    return next((fault for form, fault in _FAULT_OF_FORM.items() if form.fullmatch(text)), None)


def _fault_of_copy(text: str) -> str | None:
    if not text.isascii():
        return "has a letter or digit that only looks like a plain one (A to Z, 0 to 9)"
    if " " in text or _SEPARATORS & set(text):
        return "has a blank or one of , ; / |: are there two accounts in it?"
    if _ADDED_AMOUNT.fullmatch(text):
        return "ends with + and a number: is an amount in it?"
    return None
