"""EPAY's signature: sorted parameters and the key in one string, hashed (epay-gateway section 4).

How a nested object is written into that string is left open by EPAY's pages (section 4.3), so it
is a setting.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

MAX_DEPTH = 32
"""Deepest nesting that is rendered; a documented message has one level."""


class NestedForm(StrEnum):
    """How a nested object is written in the string to sign (epay-gateway section 4.3)."""

    COMMA = "comma"
    """`{a=1,b=2}`: the text of EPAY's page."""
    AMPERSAND = "ampersand"
    """`{a=1&b=2}`: as a public module does it."""
    JSON = "json"
    """`{"a":"1","b":"2"}`: compact JSON, keys sorted."""
    JAVA = "java"
    """`{a=1, b=2}`: a Java map printed."""


_SEPARATORS = {NestedForm.COMMA: ",", NestedForm.AMPERSAND: "&", NestedForm.JAVA: ", "}


def string_to_sign(param: Mapping[str, Any] | Sequence[Any], nested: NestedForm) -> str:
    """Return the text that is hashed, without the key (epay-gateway sections 4.1 and 4.3).

    Empty strings and nulls are left out, at every level; an object or array that is empty by then
    is left out too. Keys are sorted by ASCII, values go in raw. Outside the JSON form an array is
    an object whose keys are the indexes. An array at the top (the data of getBalance) is written
    the same way; EPAY documents nothing for it.

    Our assumptions, since every documented field is a string: numbers are printed as they are,
    booleans as JSON's `true` and `false`.

    Raises ValueError for nesting beyond MAX_DEPTH and TypeError for what JSON does not know.
    """
    return "&".join(f"{key}={_render(value, nested)}" for key, value in _members(param, 0))


def sign(param: Mapping[str, Any] | Sequence[Any], api_key: str, nested: NestedForm) -> str:
    """Return the signature of `param`, 64 upper-case hex digits (epay-gateway section 4.1).

    Raises what `string_to_sign` raises, and UnicodeEncodeError (a ValueError) for text that UTF-8
    cannot hold.
    """
    return _digest(string_to_sign(param, nested), api_key)


def verify(
    param: Mapping[str, Any] | Sequence[Any],
    signature: object,
    api_keys: Iterable[str],
    nested: NestedForm,
) -> bool:
    """Tell whether `signature` is exactly what one of the keys gives. Never raises.

    An empty key accepts nothing. Every key is tried in full, so the time taken does not tell
    which one matched.
    """
    if not isinstance(signature, str):
        return False
    given = signature.encode("utf-8", "replace")
    try:
        text = string_to_sign(param, nested)
        digests = [_digest(text, key).encode("ascii") for key in api_keys if key]
    except (ValueError, TypeError):
        return False
    matched = False
    for digest in digests:
        matched |= hmac.compare_digest(digest, given)
    return matched


def _digest(text: str, api_key: str) -> str:
    return hashlib.sha256(f"{text}&key={api_key}".encode()).hexdigest().upper()


class _Array(dict[str, Any]):
    """The items of an array by index."""


def _members(value: Mapping[str, Any] | Sequence[Any], depth: int) -> list[tuple[str, Any]]:
    """Keys and values, sorted (an array keeps its order), without those that are empty."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep to sign")
    pairs = sorted(value.items()) if isinstance(value, Mapping) else enumerate(value)
    pruned = ((str(key), _pruned(item, depth + 1)) for key, item in pairs)
    return [(key, item) for key, item in pruned if item is not None]


def _pruned(value: Any, depth: int) -> Any:
    """The value with its members sorted and the empty ones left out; None if nothing is left."""
    if isinstance(value, Mapping):
        return dict(_members(value, depth)) or None
    if isinstance(value, (list, tuple)):
        return _Array(_members(value, depth)) or None
    return None if value == "" else value


def _render(value: Any, nested: NestedForm) -> str:
    """Write a pruned value; text goes in raw, except within the JSON form."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return _scalar(value)
    if nested is NestedForm.JSON:
        return _json(value)
    members = (f"{key}={_render(item, nested)}" for key, item in value.items())
    return "{" + _SEPARATORS[nested].join(members) + "}"


def _json(value: Any) -> str:
    """Write compact JSON by hand: the standard writer cannot print a Decimal as it came."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, _Array):
        return "[" + ",".join(map(_json, value.values())) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json(key)}:{_json(item)}" for key, item in value.items()) + "}"
    return _scalar(value)


def _scalar(value: object) -> str:
    """Print a number as it is, a boolean as JSON has it (assumed: no documented field is one)."""
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, allow_nan=False)
