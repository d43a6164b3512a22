"""The edge towards EPAY: who gets `success`, who gets 403, and what goes on the queue."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from urllib.parse import urlencode

import pytest
import redis
from flask.testing import FlaskClient
from pydantic import SecretStr

from devstack.ports import free_port
from shared.contract import TASK_CALLBACK
from tests.support.callbacks import CLAIMS, SECRETS, fields, post, queue, signed
from tests.support.logs import written_logs
from tests.support.webhook import ACCOUNT, FORM, KEY, PREVIOUS, settings
from webhook import create_app


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
