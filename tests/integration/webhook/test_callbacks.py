"""The edge towards EPAY: who gets `success`, who gets what else, and what goes on the queue."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import redis
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from devstack.ports import free_port
from shared.contract import QUEUE_RECONCILE, TASK_CALLBACK
from shared.epay.callbacks import sign_callback
from shared.epay.signing import NestedForm
from tests.support import webhook as webhook_support
from tests.support.logs import root_logger_restored, written_logs
from tests.support.webhook import ACCOUNT, FORM, KEY, PREVIOUS, settings
from webhook import create_app

GIVEN_UP = 15
"""Two tries of a publish, 5 s each: a third one would take that long."""
SECRETS = (KEY, PREVIOUS, "pin-90210", "U1234567890", "payer@epay.com", "birthday money")

Make = Callable[..., FlaskClient]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The app sets up the root logger of its process; ours is another."""
    with root_logger_restored():
        yield


@pytest.fixture
def client(redis_url: str) -> FlaskClient:
    return create_app(settings(redis_url)).test_client()


def fields(**changes: str) -> dict[str, str]:
    """A callback as section 5 has it, with all that must go no further."""
    private = {"pinCode": "pin-90210", "remark": "birthday money"}
    return webhook_support.fields(**(private | changes))


def signed(key: str = KEY, **changes: str) -> dict[str, str]:
    bare = fields(**changes)
    return bare | {"sign": sign_callback(bare, key, NestedForm.COMMA)}


def post(client: FlaskClient, data: Any, content_type: str = FORM, **more: Any) -> TestResponse:
    return client.post("/epay/callback", data=data, content_type=content_type, **more)


def queue(redis_url: str) -> list[tuple[str, dict[str, Any]]]:
    """Task and kwargs of what the workers would get, oldest first; all of it as text, too."""
    with redis.Redis.from_url(redis_url) as server:
        raw = server.lrange(QUEUE_RECONCILE, 0, -1)
    found = []
    for message in map(json.loads, reversed(raw)):
        text = base64.b64decode(message["body"]).decode() + json.dumps(message["headers"])
        assert not [secret for secret in SECRETS if secret in text]
        found.append((message["headers"]["task"], json.loads(base64.b64decode(message["body"]))[1]))
    return found


CLAIMS = {
    "merchant_order_no": "order-1",
    "epay_account": ACCOUNT,
    "epay_order_no": "E1",
    "status": "7",
    "amount": "10.50",
    "currency": "USD",
    "fee": "0.10",
}


@pytest.mark.parametrize("way", ["form", "json", "get"])
def test_a_signed_callback_is_on_the_queue_before_success(
    client: FlaskClient, redis_url: str, way: str
) -> None:
    """200 and exactly `success`; the message holds what a payout needs, and nothing private."""
    if way == "form":
        response = post(client, signed())
    elif way == "json":
        response = post(client, json.dumps(signed()), "application/json; charset=utf-8")
    else:
        response = client.get(f"/epay/callback?{urlencode(signed())}")
    assert (response.status_code, response.data) == (200, b"success")
    assert queue(redis_url) == [(TASK_CALLBACK, CLAIMS | {"verified": True})]


def test_each_arrival_is_handed_on(client: FlaskClient, redis_url: str) -> None:
    """EPAY's retries are the workers' to recognise; every one is acknowledged."""
    assert {post(client, signed()).data for _ in range(3)} == {b"success"}
    assert len(queue(redis_url)) == 3


def test_fields_that_nobody_knows_are_signed_and_dropped(
    client: FlaskClient, redis_url: str
) -> None:
    """Unknown fields count for the signature; isForward and payUrl do not."""
    callback = signed(extendFields='{"a":"b"}', somethingNew="1", message='{"b":"2","a":"1"}')
    response = post(client, callback | {"isForward": "1", "payUrl": "https://x", "pinCode": ""})
    assert response.status_code == 403, "an emptied field was signed"
    response = post(client, callback | {"isForward": "1", "payUrl": "https://x"})
    assert response.status_code == 200
    assert queue(redis_url)[-1] == (TASK_CALLBACK, CLAIMS | {"verified": True})


def test_the_previous_key_is_accepted(redis_url: str) -> None:
    """During a change of key both hold; without the setting the old one does not."""
    both = create_app(settings(redis_url, epay_api_key_previous=SecretStr(PREVIOUS)))
    assert post(both.test_client(), signed(PREVIOUS)).data == b"success"
    assert post(both.test_client(), signed()).data == b"success"
    one = create_app(settings(redis_url)).test_client()
    assert post(one, signed(PREVIOUS)).status_code == 403


def test_it_says_whose_key_verified_it(redis_url: str, tmp_path: Path) -> None:
    """One account at two hosts: the worker must know which of them has said it (law 10)."""
    file = tmp_path / "accounts.toml"
    file.write_text(f"""
[[account]]
account = "{ACCOUNT}"
base_url = "https://live.example/capi/openapi"
api_key = "{KEY}"
former_hosts = ["old.example"]

[[account]]
account = "{ACCOUNT}"
base_url = "https://test.example:8443/capi/openapi"
api_key = "{PREVIOUS}"
""")
    made = settings(redis_url, epay_accounts_file=str(file))
    client = create_app(made).test_client()
    for key in (KEY, PREVIOUS, "neither"):
        post(client, signed(key))
    live, test, unverified = [message for _, message in queue(redis_url)]
    assert (live["gateways"], live["verified"]) == (["live.example", "old.example"], True)
    assert (test["gateways"], test["verified"]) == (["test.example:8443"], True)
    assert unverified == CLAIMS | {"verified": False}


def test_no_key_is_no_key(redis_url: str) -> None:
    """An empty previous key signs nothing."""
    app = create_app(settings(redis_url, epay_api_key_previous=SecretStr("")))
    assert post(app.test_client(), signed("")).status_code == 403


@pytest.mark.parametrize(
    "spoil",
    [
        {"status": "6"},
        {"amount": "1000.50"},
        {"merchantOrderNo": "order-2"},
        {"epayAccount": "x@epay.com"},
        {"sign": "0" * 64},
        {"sign": "x"},
        {"extra": "field"},
        {"remark": "birthday money&status=6"},
    ],
)
def test_a_wrong_signature_is_refused_and_is_a_hint(
    client: FlaskClient, redis_url: str, spoil: dict[str, str]
) -> None:
    """403; the workers learn of it as unverified."""
    response = post(client, signed() | spoil)
    assert response.status_code == 403
    assert b"success" not in response.data
    [(task, message)] = queue(redis_url)
    assert (task, message["verified"]) == (TASK_CALLBACK, False)


def test_a_signed_text_that_can_be_cut_in_two_ways_is_not_believed(client: FlaskClient) -> None:
    """Nothing is escaped in what is signed: a remark that holds a field is no remark."""
    assert post(client, signed(remark="thanks&status=7")).status_code == 403
    assert post(client, signed(remark="status=7, thanks")).status_code == 200


def test_a_lower_case_signature_is_wrong(client: FlaskClient) -> None:
    """The documented form is upper case."""
    callback = signed()
    response = post(client, callback | {"sign": callback["sign"].lower()})
    assert response.status_code == 403


def test_hints_come_once_a_minute_for_each_order(client: FlaskClient, redis_url: str) -> None:
    """A flood of forged callbacks is not a flood of tasks; the brake lets go after a minute."""
    for _ in range(5):
        assert post(client, fields(sign="0" * 64)).status_code == 403
    post(client, fields(sign="0" * 64, merchantOrderNo="order-2"))
    assert [kwargs["merchant_order_no"] for _, kwargs in queue(redis_url)] == ["order-1", "order-2"]
    with redis.Redis.from_url(redis_url) as server:
        keys = list(server.scan_iter("*order-1*"))
        assert 0 < server.ttl(keys[0]) <= 60
        server.delete(*keys)
    post(client, fields(sign="0" * 64))
    assert len(queue(redis_url)) == 3
    assert post(client, signed()).data == b"success", "the true one is not braked"


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


def test_without_redis_epay_has_to_come_again() -> None:
    """503 at once, verified or not; /readyz says so, /healthz lives."""
    client = create_app(settings(f"redis://127.0.0.1:{free_port()}/0")).test_client()
    for callback in (signed(), fields(sign="0" * 64)):
        begun = time.monotonic()
        response = post(client, callback)
        assert (response.status_code, time.monotonic() - begun < GIVEN_UP) == (503, True)
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json == {"ready": False, "broker": "Redis does not answer"}
    assert client.get("/healthz").data == b"ok"


def test_a_redis_that_says_nothing_is_given_up() -> None:
    """Connections are taken and never answered: 503 while EPAY may still be listening."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        begun = time.monotonic()
        response = post(create_app(settings(url)).test_client(), signed())
        assert (response.status_code, time.monotonic() - begun < GIVEN_UP) == (503, True)


def test_with_redis_it_is_ready(client: FlaskClient) -> None:
    """200 and no complaint."""
    assert client.get("/readyz").json == {"ready": True}


def counted(client: FlaskClient, result: str) -> float:
    name = f'payouts_callbacks_total{{result="{result}"}} '
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.parametrize(
    ("result", "data", "content_type"),
    [
        ("accepted", signed(), FORM),
        ("bad_signature", fields(sign="0" * 64), FORM),
        ("malformed", fields(), FORM),
        ("unsupported_type", "x", "text/plain"),
    ],
)
def test_answers_are_counted(
    client: FlaskClient, result: str, data: Any, content_type: str
) -> None:
    """/metrics tells how many callbacks got which answer."""
    before = counted(client, result)
    post(client, data, content_type)
    assert counted(client, result) == before + 1


def test_a_callback_that_redis_did_not_take_is_counted(redis_url: str) -> None:
    """503s are counted like the others."""
    client = create_app(settings(f"redis://127.0.0.1:{free_port()}/0")).test_client()
    before = counted(client, "broker_away")
    post(client, signed())
    assert counted(client, "broker_away") == before + 1


def test_without_settings_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which settings are missing and what each is for, and halts gunicorn (code 3)."""
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "EPAY_ACCOUNT", "EPAY_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as exited:
        create_app()
    assert exited.value.code == 3
    text = capsys.readouterr().err
    assert text.startswith("The webhook cannot start: not set in the environment or .env:")
    assert all(f"  {name}: " in text for name in ("REDIS_URL", "EPAY_ACCOUNT", "EPAY_API_KEY"))


def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typo in the environment ends the start in words, and repeats no value."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPAY_API_KEY", KEY)
    monkeypatch.setenv("EPAY_SIGN_NESTED", "commma")
    with pytest.raises(SystemExit):
        create_app()
    said = capsys.readouterr().err
    assert "EPAY_SIGN_NESTED" in said
    assert "commma" not in said


def test_nothing_private_is_logged_or_answered(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No key, pin, account number or remark in any record or response, whatever comes in."""
    clients = [
        create_app(settings(url, epay_api_key_previous=SecretStr(PREVIOUS))).test_client()
        for url in (redis_url, f"redis://127.0.0.1:{free_port()}/0")
    ]
    logging.getLogger().setLevel(logging.DEBUG)
    said = ""
    for client in clients:
        for data, content_type in [
            (signed(), FORM),
            (fields(sign="0" * 64), FORM),
            (fields(), FORM),
            (json.dumps(signed()), "application/json"),
            (json.dumps(fields())[:-1], "application/json"),
            (json.dumps(signed() | {"status": True}), "application/json"),
            (urlencode(signed()), "text/plain"),
        ]:
            response = post(client, data, content_type)
            said += str(response.headers) + response.get_data(as_text=True)
    logged = written_logs(capsys)
    assert "callback_with_bad_signature" in logged
    assert "callback_not_enqueued" in logged
    text = said + logged
    assert [secret for secret in SECRETS if secret in text] == []
