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
    exact = Fraction(value)
    return 0 < exact < 10**16 and (exact * 100).denominator == 1


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
    "merchant_order_no": lambda value: is_word(value, LETTERS_AND_DIGITS + "._-", 1, 64),
    "amount": is_amount,
    "currency": lambda value: is_word(value, string.ascii_uppercase, 3, 8),
    "channel_code": lambda value: is_word(value, LETTERS_AND_DIGITS + "_-", 1, 32),
    "account_no": lambda value: is_text(value, 128) and value != "",
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
