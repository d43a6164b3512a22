"""The fields of a callback, out of a query string, a form or JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from webhook.parsing import MAX_BODY_BYTES, MAX_FIELDS, read_fields
from webhook.responses import MALFORMED, TOO_LARGE, UNSUPPORTED_TYPE, Answer, Refused

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@contextmanager
def refused(answer: Answer, match: str | None = None) -> Iterator[None]:
    """The block is refused with this answer."""
    with pytest.raises(Refused, match=match) as caught:
        yield
    assert caught.value.answer is answer


def read(body: str | bytes, content_type: str = FORM, **environ: Any) -> dict[str, str]:
    """The fields of a POST."""
    data = body if isinstance(body, bytes) else body.encode()
    builder = EnvironBuilder(method="POST", data=data, content_type=content_type)
    return read_fields(Request(builder.get_environ() | environ))


def read_query(query: str) -> dict[str, str]:
    """The fields of a GET."""
    return read_fields(Request(EnvironBuilder(method="GET", query_string=query).get_environ()))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=&b", {"a": "", "b": ""}),
        ("a=x+y%2Bz%26", {"a": "x y+z&"}),
        ("a=1;b=2", {"a": "1;b=2"}),
        ("a=%C3%A4", {"a": "ä"}),
        ("a=%FF", {"a": "\ufffd"}),
        ("", {}),
    ],
)
def test_form_and_query_string_read_the_same(text: str, fields: dict[str, str]) -> None:
    """Empty values are fields: the signature leaves them out, not the parser."""
    assert read(text) == fields
    assert read(text, f"{FORM}; charset=UTF-8") == fields
    assert read_query(text) == fields


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("7", "7"),
        (7, "7"),
        ("ä", "ä"),
        ({"b": "ü", "a": [1]}, '{"b":"ü","a":[1]}'),
        ([], "[]"),
    ],
)
def test_json_values_become_text(value: object, text: str) -> None:
    """A nested value as compact JSON, in its own order; null is no field."""
    body = json.dumps({"a": value, "none": None})
    assert read(body, JSON) == {"a": text}
    assert read(body, f"{JSON}; charset=utf-8") == {"a": text}


@pytest.mark.parametrize("text", ["a=1&a=2", "a=1&a=1", "a=1&%61=2"])
def test_duplicate_field_is_malformed(text: str) -> None:
    """It could be signed as the one and read as the other."""
    with refused(MALFORMED):
        read(text)
    with refused(MALFORMED):
        read_query(text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"a"',
        b"null",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": 1.5}',
        b'{"a": true}',
        b'{"a": NaN}',
        b'{"a": "\xff"}',
        b'{"a":' * 10_000,
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
)
def test_json_that_is_no_callback_is_malformed(body: bytes) -> None:
    """A fraction has no single spelling to sign; the last two are hostile."""
    with refused(MALFORMED):
        read(body, JSON)


def test_number_of_fields_is_limited() -> None:
    pairs = [(f"f{number}", "x") for number in range(MAX_FIELDS + 1)]
    for count, is_read in ((MAX_FIELDS, True), (MAX_FIELDS + 1, False)):
        form = "&".join(f"{name}={value}" for name, value in pairs[:count])
        for body, content_type in ((form, FORM), (json.dumps(dict(pairs[:count])), JSON)):
            if is_read:
                assert len(read(body, content_type)) == count
            else:
                with refused(MALFORMED):
                    read(body, content_type)


@pytest.mark.parametrize("content_type", [FORM, JSON])
def test_body_over_the_limit_is_not_read(content_type: str) -> None:
    """By its Content-Length."""
    stream = io.BytesIO(b"a=1")
    length = {"CONTENT_LENGTH": str(MAX_BODY_BYTES + 1), "wsgi.input": stream}
    with refused(TOO_LARGE):
        read("", content_type, **length)
    assert stream.tell() == 0


def test_limit_of_the_size_is_exact() -> None:
    text = "a=" + "x" * (MAX_BODY_BYTES - 2)
    assert len(read(text)["a"]) == len(read_query(text)["a"]) == MAX_BODY_BYTES - 2
    with refused(TOO_LARGE):
        read(text + "x")
    with refused(TOO_LARGE):
        read_query(text + "x")


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "text/json", ""])
def test_other_content_type_is_refused(content_type: str) -> None:
    with refused(UNSUPPORTED_TYPE):
        read("a=1", content_type)


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("bad chunk"), EOFError()])
def test_body_that_cannot_be_received_is_malformed(error: Exception) -> None:
    """Each WSGI server raises its own exceptions for what the sender did wrong."""

    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise error

    with refused(MALFORMED, match="cannot be read"):
        read("a=1", **{"wsgi.input": Broken()})
