"""Reading the flat text fields of a callback, whichever way they were sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import parse_qsl

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from webhook.responses import MALFORMED, TOO_LARGE, UNSUPPORTED_TYPE, Refused

MAX_BODY_BYTES = 64 * 1024
MAX_FIELDS = 200
"""EPAY documents twenty: so many that sorting and hashing them costs no more than reading them."""

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_Value = TypeVar("_Value")


class Malformed(Refused):
    """The request is no callback."""

    answer = MALFORMED


class TooLarge(Refused):
    """More than any callback has."""

    answer = TOO_LARGE


class UnsupportedType(Refused):
    """The body is neither a form nor JSON."""

    answer = UNSUPPORTED_TYPE


def read_fields(request: Request) -> dict[str, str]:
    """The fields of a callback, each once.

    Raises:
        TooLarge: over 64 KiB, told or found out while reading.
        UnsupportedType: the content type is another than a form or JSON.
        Malformed: a field stands twice, there are too many, or the body cannot be read.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise TooLarge
    if request.method == "GET":
        if len(request.query_string) > MAX_BODY_BYTES:
            raise TooLarge
        return _from_form(request.query_string)
    if request.mimetype == _FORM:
        return _from_form(_body(request))
    if request.mimetype == _JSON:
        return _from_json(_body(request))
    raise UnsupportedType


def _body(request: Request) -> bytes:
    body = _received(request)
    if request.content_length is None and len(body) >= MAX_BODY_BYTES:
        # No length was told, and no more than this is ever read: it may be the beginning of more.
        raise TooLarge
    return body


def _received(request: Request) -> bytes:
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise TooLarge from error
    except Exception as error:
        # A torn connection, a wrong chunk size: each WSGI server has exceptions of its own for it,
        # and all of them are the sender's doing.
        raise Malformed("the body cannot be read") from error


def _from_form(body: bytes) -> dict[str, str]:
    # What is no UTF-8 is replaced, not refused: then the signature is wrong, which is a hint.
    text = body.decode("utf-8", "replace")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Malformed("too many fields") from error
    return _once_each(pairs)


def _from_json(body: bytes) -> dict[str, str]:
    try:
        parsed = json.loads(body, object_pairs_hook=_once_each)
        if not isinstance(parsed, dict) or len(parsed) > MAX_FIELDS:
            raise Malformed("the body is not an object with a few fields")
        return {name: _as_text(value) for name, value in parsed.items() if value is not None}
    except (ValueError, RecursionError) as error:
        raise Malformed("the body is not JSON") from error


def _once_each(pairs: Sequence[tuple[str, _Value]]) -> dict[str, _Value]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Malformed("a field stands twice")
    return fields


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    raise Malformed("a field is neither text nor a whole number")
