"""EPAY's signature: sorted parameters and the key in one string, hashed (epay-gateway section 4).

How a nested object is written into that string is not settled by EPAY's pages (section 4.3), so it
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
    return "&".join(f"{key}={text}" for key, text in _members(param, nested, 0))


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

    An empty key accepts nothing.     Every key is tried in full, so the time taken does not tell
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


def _members(
    value: Mapping[str, Any] | Sequence[Any], nested: NestedForm, depth: int
) -> list[tuple[str, str]]:
    """Render keys and values, sorted (an array keeps its order), without the empty ones."""
    if isinstance(value, Mapping):
        pairs = sorted(value.items())
    else:
        pairs = [(str(index), item) for index, item in enumerate(value)]
    rendered = ((key, _render(item, nested, depth)) for key, item in pairs)
    return [(key, text) for key, text in rendered if text]


def _render(value: Any, nested: NestedForm, depth: int) -> str:
    """Render one value; empty text means that it is left out."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (Mapping, list, tuple)):
        return _render_nested(value, nested, depth + 1)
    return _scalar(value)


def _render_nested(value: Mapping[str, Any] | Sequence[Any], nested: NestedForm, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep to sign")
    if nested is NestedForm.JSON:
        return _json(_pruned(value, depth))
    members = _members(value, nested, depth)
    if not members:
        return ""
    return "{" + _SEPARATORS[nested].join(f"{key}={text}" for key, text in members) + "}"


def _pruned(value: Any, depth: int) -> Any:
    """Sort the keys and drop the empty members; None when nothing is left."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep to sign")
    if isinstance(value, Mapping):
        pruned = {key: _pruned(item, depth + 1) for key, item in sorted(value.items())}
        return {key: item for key, item in pruned.items() if item is not None} or None
    if isinstance(value, (list, tuple)):
        items = [_pruned(item, depth + 1) for item in value]
        return [item for item in items if item is not None] or None
    return None if value == "" else value


def _json(value: Any) -> str:
    """Write compact JSON by hand: the standard writer cannot print a Decimal as it came."""
    if value is None:
        return ""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        members = (f"{json.dumps(key, ensure_ascii=False)}:{_json(v)}" for key, v in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    """Print a number as it is, a boolean as JSON has it (assumed: no documented field is one)."""
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, allow_nan=False)
