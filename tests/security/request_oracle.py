"""The contract of `payouts.request` once more, written another way: what docs/producers.md says."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

ACCOUNT = "test2020@epay.com"
REQUIRED = ("merchant_order_no", "amount", "currency", "channel_code", "account_no")
FIELDS = (*REQUIRED, "remark", "extend_fields", "epay_account", "notify")


def is_text(value: Any, most: int) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= most
        and value.isprintable()
        and value == value.strip()
    )


def is_word(value: Any, letters: str, least: int, most: int) -> bool:
    return isinstance(value, str) and least <= len(value) <= most and set(value) <= set(letters)


LETTERS_AND_DIGITS = string.ascii_letters + string.digits


def is_amount(value: Any) -> bool:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= 40
        or not set(value) <= set("0123456789.")
    ):
        return False
    whole, point, decimals = value.partition(".")
    if (
        "." in decimals
        or not whole
        or (point and not decimals)
        or (whole[0] == "0" and whole != "0")
    ):
        return False
    return 0 < Fraction(value) < 10**16 and len(decimals) <= 2


EMPTY = frozenset(
    {"null", "nan", "none", "n/a", "na", "nat", "nil", "undefined", "true", "false", "inf",
     "infinity", "wahr", "falsch", "vrai", "faux", "verdadero", "falso", "verdadeiro", "vero",
     "waar", "onwaar", "prawda"}
)  # fmt: skip
MONTHS = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    "mrz", "mai", "okt", "dez", "janv", "fevr", "mars", "avr", "juin", "juil", "sept",
    "ene", "abr", "ago", "dic", "fev", "mrt", "mei",
)  # fmt: skip


def is_decimal(text: str) -> bool:
    whole, _, places = text.partition(".")
    return set(whole) <= set(string.digits) and bool(whole) and set(places) <= set(string.digits)


def is_number_cut_by_a_spreadsheet(text: str) -> bool:
    mantissa, e, exponent = text.lower().lstrip("+-").partition("e")
    if not e or not is_decimal(mantissa):
        return False
    is_signed = exponent[:1] in {"+", "-"}
    digits = exponent[1:] if is_signed else exponent
    return bool(digits) and set(digits) <= set(string.digits) and (is_signed or "." in mantissa)


def is_date(text: str) -> bool:
    parts = text.lower().split("-")
    numbers = [set(part) <= set(string.digits) for part in parts]
    lengths = [len(part) for part in parts]
    if len(parts) in {2, 3} and parts[1] in MONTHS and numbers[0] and lengths[0] in {1, 2}:
        return len(parts) == 2 or (numbers[2] and 2 <= lengths[2] <= 4)
    if len(parts) == 2 and parts[0] in MONTHS:
        return numbers[1] and 2 <= lengths[1] <= 4
    if len(parts) == 3 and all(numbers) and lengths == [4, 2, 2]:
        return 1 <= int(parts[1]) <= 12 and int(parts[2]) <= 31
    return False


def is_dotted_date(text: str) -> bool:
    parts = text.split(".")
    if len(parts) != 3 or not all(part and set(part) <= set(string.digits) for part in parts):
        return False
    day, month, year = parts
    return (
        len(day) <= 2
        and len(month) <= 2
        and 1 <= int(day) <= 31
        and 1 <= int(month) <= 12
        and len(year) == 4
        and year[:2] in {"19", "20"}
    )


def is_maybe_a_date(text: str) -> bool:
    parts = text.split("-")
    if len(parts) != 3 or not all(part and set(part) <= set(string.digits) for part in parts):
        return False
    year = parts.pop(0) if len(parts[0]) == 4 else parts.pop(2)
    first, second = parts
    return (
        len(year) == 4
        and year[:2] in {"19", "20"}
        and len(first) <= 2
        and len(second) <= 2
        and 1 <= int(first) <= (31 if text.endswith(year) else 12)
        and 1 <= int(second) <= 31
    )


def is_time_or_percentage(text: str) -> bool:
    times = text.lower().removesuffix("am").removesuffix("pm").rstrip(" ").split(":")
    if len(times) in {2, 3} and all(set(part) <= set(string.digits) for part in times):
        return 1 <= len(times[0]) <= 2 and all(len(part) == 2 for part in times[1:])
    number = text.removesuffix("%").removesuffix(" ").lstrip("+-").replace(",", ".")
    return text.endswith("%") and is_decimal(number) and not number.endswith(".")


def is_ruined(text: str) -> bool:
    plain = "".join(letter for letter in text.lower() if letter in LETTERS_AND_DIGITS + "/")
    return (
        text[:1] in {"'", "=", "#"}
        or '"' in text
        or plain == ""
        or plain in EMPTY
        or is_number_cut_by_a_spreadsheet(text)
        or is_date(text)
        or is_dotted_date(text)
        or is_time_or_percentage(text)
    )


def is_order_no(value: Any) -> bool:
    if not is_word(value, LETTERS_AND_DIGITS + "._-", 1, 64):
        return False
    whole, point, zeros = value.partition(".")
    ends_in_zeros = point and whole and set(whole) <= set(string.digits) and set(zeros) <= {"0"}
    return not ends_in_zeros and not is_ruined(value)


def is_account_no(value: Any) -> bool:
    if not is_text(value, 128) or value == "" or not value.isascii() or is_ruined(value):
        return False
    if is_maybe_a_date(value):
        return False
    before, plus, after = value.rpartition("+")
    has_amount = (
        before and plus and "@" not in before and after and set(after) <= set("0123456789.")
    )
    is_number = "." in value and is_decimal(value.removeprefix("+").removeprefix("-"))
    return not set(value) & set(" ,;/|") and not has_amount and not is_number


def is_notify(value: Any) -> bool:
    if not isinstance(value, dict) or not {"task", "queue"} <= set(value) <= {
        "task",
        "queue",
        "on",
    }:
        return False
    on = value.get("on", ["final"])
    return (
        all(is_word(value[name], LETTERS_AND_DIGITS + "_.:-", 1, 200) for name in ("task", "queue"))
        and isinstance(on, list | tuple)
        and list(on) in [["final"], ["accepted"], ["final", "accepted"], ["accepted", "final"]]
    )


def is_extend(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(is_word(name, LETTERS_AND_DIGITS + "_.-", 1, 64) for name in value)
        and all(is_text(held, 255) for held in value.values())
        and len(json.dumps(value, ensure_ascii=False).encode()) <= 2048
    )


CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "merchant_order_no": is_order_no,
    "amount": is_amount,
    "currency": lambda value: is_word(value, string.ascii_uppercase, 3, 8),
    "channel_code": lambda value: is_word(value, LETTERS_AND_DIGITS + "_-", 1, 32),
    "account_no": is_account_no,
    "remark": lambda value: value is None or (is_text(value, 255) and value != ""),
    "extend_fields": lambda value: value is None or is_extend(value),
    "epay_account": lambda value: (
        value is None or (isinstance(value, str) and value.lower() == ACCOUNT)
    ),
    "notify": lambda value: value is None or is_notify(value),
}


def is_valid(kwargs: Mapping[str, Any]) -> bool:
    return set(REQUIRED) <= set(kwargs) <= set(FIELDS) and all(
        CHECKS[name](value) for name, value in kwargs.items()
    )
