"""The errors of a request, for the person who typed it or wrote it in a file. Pure.

No value of the request is in a text. The texts of `shared.contract` are for programs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_NOTIFY = "notify_"

_PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "merchant_order_no": "is not an order number: up to 64 letters, digits, '.', '_', '-'",
        "amount": "is not a plain decimal number like 10.50: no sign, exponent, blank or thousands"
        " separator",
        "currency": "is not a currency in capitals like USD",
        "channel_code": "is not a channel code like 11",
        "extend_fields": "has a name that is not made of letters, digits, '_', '.' and '-', 64 at"
        " most",
        "epay_account": "is not an EPAY account",
        "notify_task": "is not the name of a task",
        "notify_queue": "is not the name of a queue",
    }
)
"""The error of a value that its pattern does not match."""


_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is empty",
        "string_type": "is empty",
        "string_too_short": "is empty",
        "dict_type": "is not a JSON object",
        "string_unicode": "is not UTF-8 text: save the file in UTF-8",
    }
)
"""Other errors, by pydantic's name."""


def describe_errors(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Each error: the field (`notify_task`, `notify_queue` for those of notify), and its text."""
    for item in error.errors(include_input=False, include_url=False):
        field = _field(item)
        yield field, _reason(field, item)


def _field(item: ErrorDetails) -> str:
    first, *rest = item["loc"]
    return _NOTIFY + str(rest[0]) if first == "notify" and rest else str(first)


def _reason(field: str, item: ErrorDetails) -> str:
    match item["type"]:
        case "string_pattern_mismatch":
            reason = _PATTERNS[field]
        case "string_too_long":
            reason = f"has more than {item['ctx']['max_length']} characters"
        case "string_type" if field == "extend_fields":
            reason = "has a value that is not text"
        case kind:
            reason = _REASONS.get(kind, item["msg"].removeprefix("Value error, "))
    return reason
