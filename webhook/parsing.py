"""Reads the fields of a callback from a query string, a form or JSON."""

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
"""EPAY documents twenty; the bound keeps sorting and hashing them cheap."""

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_Value = TypeVar("_Value")


def read_fields(request: Request) -> dict[str, str]:
    """The fields of a callback; each name occurs once.

    Raises:
        Refused: the body is over 64 KiB, by its Content-Length or when read; it is neither a form
            nor JSON; or it has a duplicate field, too many fields, or cannot be read.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise Refused(TOO_LARGE)
    if request.method == "GET":
        if len(request.query_string) > MAX_BODY_BYTES:
            raise Refused(TOO_LARGE)
        return _from_form(request.query_string)
    if request.mimetype == _FORM:
        return _from_form(_body(request))
    if request.mimetype == _JSON:
        return _from_json(_body(request))
    raise Refused(UNSUPPORTED_TYPE)


def _body(request: Request) -> bytes:
    body = _received(request)
    if request.content_length is None and len(body) >= MAX_BODY_BYTES:
        # Without a Content-Length the body is cut at the bound: it may have been longer.
        raise Refused(TOO_LARGE)
    return body


def _received(request: Request) -> bytes:
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise Refused(TOO_LARGE) from error
    except Exception as error:
        # A broken connection or a wrong chunk size: each WSGI server raises its own exceptions for
        # these, and the sender causes all of them.
        raise Refused(MALFORMED, "the body cannot be read") from error


def _from_form(body: bytes) -> dict[str, str]:
    # Invalid UTF-8 is replaced, not refused: it becomes a callback with an invalid signature.
    text = body.decode("utf-8", "replace")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Refused(MALFORMED, "too many fields") from error
    return _once_each(pairs)


def _from_json(body: bytes) -> dict[str, str]:
    try:
        parsed = json.loads(body, object_pairs_hook=_once_each)
        if not isinstance(parsed, dict) or len(parsed) > MAX_FIELDS:
            raise Refused(MALFORMED, "the body is not an object, or has too many fields")
        return {name: _as_text(value) for name, value in parsed.items() if value is not None}
    except (ValueError, RecursionError) as error:
        raise Refused(MALFORMED, "the body is not JSON") from error


def _once_each(pairs: Sequence[tuple[str, _Value]]) -> dict[str, _Value]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refused(MALFORMED, "duplicate field")
    return fields


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    raise Refused(MALFORMED, "a field is neither text nor an integer")
