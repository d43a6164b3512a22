"""What is no callback: malformed, of another type, too large, by another method."""

from __future__ import annotations

import io
import json
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from tests.support.callbacks import fields, post, queue, signed
from tests.support.webhook import FORM

MALFORMED_FORMS = {
    "no sign": urlencode(fields()),
    "an empty sign": urlencode(fields(sign="")),
    "no order": urlencode({k: v for k, v in signed().items() if k != "merchantOrderNo"}),
    "an empty order": urlencode(signed(merchantOrderNo="")),
    "a long order": urlencode(signed(merchantOrderNo="9" * 150)),
    "an order of control characters": urlencode(signed(merchantOrderNo="a\x00b")),
    "a field twice": urlencode([*signed().items(), ("status", "7")]),
    "nothing": "",
}


@pytest.mark.parametrize("what", MALFORMED_FORMS)
def test_a_malformed_form_is_refused(client: FlaskClient, redis_url: str, what: str) -> None:
    """400, and nothing on the queue."""
    assert post(client, MALFORMED_FORMS[what]).status_code == 400
    assert client.get(f"/epay/callback?{MALFORMED_FORMS[what]}").status_code == 400
    assert queue(redis_url) == []


MALFORMED_JSON = {
    "no JSON": "{",
    "no object": "[]",
    "a text": '"success"',
    "no UTF-8": b'{"sign": "\xff"}',
    "a field twice": '{"status": "6", ' + json.dumps(signed())[1:],
    "a field twice, nested": json.dumps(signed())[:-1] + ', "message": {"a": 1, "a": 2}}',
    "a fraction": json.dumps(signed() | {"amount": 10.5}),
    "a truth": json.dumps(signed() | {"status": True}),
    "not a number": json.dumps(signed() | {"fee": float("nan")}),
    "an order of a wrong type": json.dumps(signed() | {"merchantOrderNo": {"a": "b"}}),
    "no sign": json.dumps(fields()),
    "a bottomless pit": '{"a":' * 10_000,
}


@pytest.mark.parametrize("what", MALFORMED_JSON)
def test_malformed_json_is_refused(client: FlaskClient, redis_url: str, what: str) -> None:
    """400 or, where it can be read and is not signed so, 403; never 500, never `success`."""
    response = post(client, MALFORMED_JSON[what], "application/json")
    expected = 403 if what == "an order of a wrong type" else 400
    assert response.status_code == expected
    assert [kwargs["verified"] for _, kwargs in queue(redis_url)] in ([], [False])


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "text/xml", ""])
def test_another_content_type_is_not_read(
    client: FlaskClient, redis_url: str, content_type: str
) -> None:
    """415 for whatever is neither a form nor JSON."""
    response = post(client, urlencode(signed()), content_type)
    assert response.status_code == 415
    assert queue(redis_url) == []


@pytest.mark.parametrize("content_type", [FORM, "application/json"])
@pytest.mark.parametrize("length", ["known", "unknown"])
def test_a_large_body_is_not_read(client: FlaskClient, content_type: str, length: str) -> None:
    """413 over 64 KiB; where no length is told, no more than that is read, and refused."""
    body = urlencode(signed(remark="x" * 65_536)).encode()
    if length == "known":
        assert post(client, body, content_type).status_code == 413
    else:
        stream = io.BytesIO(body)
        response = client.post(
            "/epay/callback",
            input_stream=stream,
            content_type=content_type,
            environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        )
        assert response.status_code in {400, 413}
        assert stream.tell() <= 65_536


def test_a_body_of_unknown_length_is_read(client: FlaskClient) -> None:
    """A chunked callback within the limit is one like any other."""
    response = client.post(
        "/epay/callback",
        input_stream=io.BytesIO(urlencode(signed()).encode()),
        content_type=FORM,
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )
    assert response.data == b"success"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(client: FlaskClient, method: str) -> None:
    """405 for what is neither POST nor GET."""
    assert client.open("/epay/callback", method=method, data=signed()).status_code == 405
