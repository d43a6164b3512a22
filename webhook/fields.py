"""Reading the flat text fields of a callback, whichever way they were sent."""

from __future__ import annotations

import json

from flask import Request
from werkzeug.datastructures import MultiDict

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


class Malformed(Exception):
    """The request is no callback."""


class UnsupportedType(Exception):
    """The body is neither a form nor JSON."""


def read_fields(request: Request) -> dict[str, str]:
    """The fields of a callback, each once.

    Raises:
        Malformed: a field stands twice, or the body cannot be read.
        UnsupportedType: the content type is another than a form or JSON.
    """
    if request.method == "GET":
        return _once_each(request.args)
    if request.mimetype == _FORM:
        return _once_each(request.form)
    if request.mimetype == _JSON:
        return _from_json(request.get_data())
    raise UnsupportedType


def _once_each(values: MultiDict[str, str]) -> dict[str, str]:
    fields = values.to_dict()
    if len(fields) != sum(1 for _ in values.items(multi=True)):
        msg = "a field stands twice"
        raise Malformed(msg)
    return fields


def _refuse_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        msg = "a field stands twice"
        raise Malformed(msg)
    return dict(pairs)


def _from_json(body: bytes) -> dict[str, str]:
    try:
        parsed = json.loads(body, object_pairs_hook=_refuse_twice)
    except (ValueError, RecursionError) as error:
        raise Malformed("the body is not JSON") from error
    if not isinstance(parsed, dict):
        raise Malformed("the body is not a JSON object")
    return {name: _as_text(value) for name, value in parsed.items() if value is not None}


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    raise Malformed("a field is neither text nor a whole number")
