"""The corners of the webhook: keys that change, exclusions, methods, errors, numbers of many."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr, ValidationError

from shared.config.settings import Settings
from shared.epay.signing import NestedForm, sign
from shared.observability import health
from shared.redis_client import RedisClient
from tests.support.webhook import (
    FORM,
    JSON,
    KEY,
    PATH,
    PREVIOUS,
    RecordingBroker,
    app,
    fields,
    settings,
    signed,
)
from webhook.health import Health

NEW = "NEWKEY789"


def post(redis_url: str, data: Any, content_type: str = FORM, **changes: Any) -> int:
    client = app(redis_url, RecordingBroker(), **changes).test_client()
    return client.post(PATH, data=data, content_type=content_type).status_code


def test_a_change_of_key_loses_no_callback(redis_url: str) -> None:
    """Before: the old key. During: both. After: the new one alone."""
    before = {"epay_api_key": SecretStr(PREVIOUS)}
    during = {"epay_api_key": SecretStr(NEW), "epay_api_key_previous": SecretStr(PREVIOUS)}
    after = {"epay_api_key": SecretStr(NEW)}

    def answers(stage: dict[str, Any]) -> list[int]:
        keys = (PREVIOUS, NEW, KEY)
        return [post(redis_url, signed(key), **stage) for key in keys]

    assert answers(before) == [200, 403, 403]
    assert answers(during) == [200, 200, 403]
    assert answers(after) == [403, 200, 403]


def test_every_key_is_tried_to_the_end(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the answer does not tell which key matched: all digests are compared."""
    compared: list[bytes] = []

    def counting(left: bytes, right: bytes) -> bool:
        compared.append(left)
        return left == right

    monkeypatch.setattr("shared.epay.signing.hmac.compare_digest", counting)
    both: dict[str, Any] = {"epay_api_key_previous": SecretStr(PREVIOUS)}
    for callback in (signed(KEY), signed(PREVIOUS), fields(sign="x")):
        compared.clear()
        post(redis_url, callback, **both)
        assert len(compared) == 2


def raw(excluded: set[str], **changes: str) -> dict[str, str]:
    """Signed over the received texts, `message` too, without the excluded fields."""
    bare = fields(**changes)
    covered = {name: value for name, value in bare.items() if name not in excluded}
    return bare | {"sign": sign(covered, KEY, NestedForm.COMMA)}


def test_exclusions_are_settings(redis_url: str) -> None:
    """Which fields are not signed, and whether `message` is JSON or a text (section 5)."""
    as_text: dict[str, Any] = {"epay_callback_parse_message": False}
    assert post(redis_url, raw({"isForward"}), **as_text) == 200
    assert post(redis_url, raw({"isForward"})) == 403
    assert post(redis_url, raw(set()), **as_text, epay_callback_excluded="none") == 200
    assert post(redis_url, raw(set()), **as_text) == 403
    assert post(redis_url, raw({"isForward", "remark"}), **as_text) == 403
    assert post(redis_url, raw({"remark"}), **as_text, epay_callback_excluded="remark") == 200


@pytest.mark.parametrize("name", ["status", "amount", "merchantOrderNo", "epayAccount", "fee"])
def test_what_we_act_on_cannot_be_excluded(name: str) -> None:
    """A signature that does not cover the status would let anybody write it."""
    with pytest.raises(ValidationError, match=f"must cover {name}"):
        settings("redis://h", epay_callback_excluded=f"isForward,{name}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("epay_callback_parse_message", "perhaps"),
        ("callback_hints_per_minute", "-1"),
        ("callback_rate_limit", "300"),
        ("callback_rate_limit", "0/second"),
        ("callback_rate_limit", "3/fortnight"),
        ("callback_allowed_networks", "10.0.0.1/8"),
        ("callback_allowed_networks", "epay.com"),
        ("trusted_proxies", "10.0.0.0/99"),
        ("trusted_proxies", "10.0.0.0/8;192.168.0.0/16"),
    ],
)
def test_wrong_settings_are_refused(name: str, text: str) -> None:
    """At the start, not at the first callback."""
    with pytest.raises(ValidationError):
        Settings(_env_file=None, **{name: text})  # type: ignore[arg-type]


def test_a_field_that_swallowed_its_neighbour_is_not_believed(redis_url: str) -> None:
    """The same text to sign can be cut otherwise: what we act on holds no `&`."""
    whole = signed()
    cut = whole | {"epayOrderNo": 'E1&extendFields={"a":"b"}'}
    del cut["extendFields"]
    assert [post(redis_url, whole), post(redis_url, cut)] == [200, 403]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_no_other_method_does_anything(redis_url: str, method: str) -> None:
    """405 with what is allowed, even for a signed query, and nothing on the queue."""
    broker = RecordingBroker()
    client = app(redis_url, broker).test_client()
    answer = client.open(PATH, method=method, query_string=signed())
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) >= {"GET", "POST"}
    assert broker.taken == []


@pytest.mark.parametrize(
    ("path", "method"),
    [("/", "GET"), ("/epay", "POST"), ("/epay/callback/", "POST"), (PATH, "PUT")],
)
def test_errors_are_a_few_words(redis_url: str, path: str, method: str) -> None:
    """No page, no version, no path."""
    answer = app(redis_url, RecordingBroker()).test_client().open(path, method=method)
    assert answer.status_code in {404, 405}
    assert answer.content_type == "text/plain; charset=utf-8"
    assert len(answer.data) < 30
    assert b"<" not in answer.data


def test_a_fault_of_ours_says_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 in three words: the trace is for the log."""
    monkeypatch.setattr("webhook.callbacks.read_fields", lambda _request: 1 // 0)
    client = app(redis_url, RecordingBroker()).test_client()
    answer = client.post(PATH, data=signed())
    assert (answer.status_code, answer.data) == (500, b"internal server error")


@pytest.mark.parametrize(("count", "code"), [(180, 200), (181, 400), (9000, 400)])
@pytest.mark.parametrize("content_type", [FORM, JSON])
def test_fields_are_counted_before_they_are_sorted(
    redis_url: str, count: int, code: int, content_type: str
) -> None:
    """200 are enough: a body of 64 KiB could hold thirty thousand."""
    callback = signed(**{f"x{number}": "" for number in range(count)})
    assert len(callback) == count + 20
    if content_type == FORM:
        body = "&".join(f"{name}={value}" for name, value in callback.items()).replace("+", "%2B")
    else:
        body = json.dumps(callback)
    if len(body) > 65_536:
        code = 413
    assert post(redis_url, body, content_type) == code


@pytest.mark.parametrize(
    ("length", "told", "code"),
    [
        (65_536, True, 200),
        (65_537, True, 413),
        (65_535, False, 200),
        (65_536, False, 413),
        (1_000_000, False, 413),
    ],
)
def test_the_limit_of_size_to_the_byte(redis_url: str, length: int, told: bool, code: int) -> None:
    """413 over 64 KiB; chunked, where no length is told, from 64 KiB on, and no more is read."""
    shortest = urlencode(signed(remark=""))
    body = urlencode(signed(remark="x" * (length - len(shortest)))).encode()
    assert len(body) == length
    stream = io.BytesIO(body)
    answer = (
        app(redis_url, RecordingBroker())
        .test_client()
        .post(
            PATH,
            input_stream=stream,
            content_type=FORM,
            environ_overrides={"CONTENT_LENGTH": str(length)}
            if told
            else {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        )
    )
    assert (answer.status_code, stream.tell() <= 65_536) == (code, True)


def test_metrics_of_many_processes_are_one_sum(tmp_path: Path) -> None:
    """With PROMETHEUS_MULTIPROC_DIR any process tells the numbers of all."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "new")}
    program = (
        "from webhook.metrics import CALLBACKS, exposition\n"
        "CALLBACKS.labels(result='accepted').inc(3)\n"
        "print(exposition().decode())"
    )
    for expected in ("3.0", "6.0"):
        said = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f'payouts_callbacks_total{{result="accepted"}} {expected}' in said.splitlines()


def test_readiness_asks_the_database_once_a_second(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks how often."""
    asked: list[int] = []
    read = health.read

    def counting(*arguments: Any) -> Any:
        asked.append(1)
        return read(*arguments)

    monkeypatch.setattr(health, "read", counting)
    looked = Health(settings(redis_url, database_url=database_url), RedisClient(redis_url))
    try:
        found = [looked.metrics_snapshot() for _ in range(50)]
    finally:
        assert looked._engine is not None
        looked._engine.dispose()
    assert found == [found[0]] * 50
    assert found[0]["in_review"] == 0
    assert len(asked) <= 3
