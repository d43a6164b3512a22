"""The webhook keeps what its OpenAPI file says, whatever the file lets a caller send."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
import yaml
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from schemathesis import Case, GenerationMode

from shared.epay.callbacks import sign_callback
from shared.epay.signing import NestedForm
from tests.support.paths import ROOT
from tests.support.webhook import KEY, PATH, RecordingBroker, app, say

FILE = ROOT / "webhook" / "openapi.yaml"
SPEC = yaml.safe_load(FILE.read_text(encoding="utf-8"))
OPERATIONS = [(path, method) for path, item in SPEC["paths"].items() for method in item]
MANY = "9999999/second"


@pytest.fixture(scope="module")
def broker() -> RecordingBroker:
    return RecordingBroker()


@pytest.fixture(scope="module")
def served(redis_server: Any, broker: RecordingBroker) -> Flask:
    """The webhook, and its file beside it, which it does not serve itself."""
    made = app(redis_server.url, broker, callback_rate_limit=MANY)
    made.add_url_rule("/openapi.yaml", view_func=lambda: FILE.read_text(encoding="utf-8"))
    return made


@pytest.fixture(scope="module")
def schema(served: Flask) -> Any:
    return schemathesis.openapi.from_wsgi("/openapi.yaml", served)


def sign(case: Case[Any]) -> None:
    """What the file cannot say: a callback bears a right signature."""
    given_fields = case.query.get("fields", case.query) if case.method == "GET" else case.body
    if not isinstance(given_fields, dict):
        return
    bare = {name: str(value) for name, value in given_fields.items() if name != "sign"}
    given_fields["sign"] = sign_callback(bare, KEY, NestedForm.COMMA)


def test_the_routes_are_those_of_the_file(redis_url: str) -> None:
    """No route without a word about it, none promised that is not there."""
    made = app(redis_url, RecordingBroker())
    routed = {
        (rule.rule, method.lower())
        for rule in made.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routed == set(OPERATIONS)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_well_formed_requests(
    schema: Any,
    broker: RecordingBroker,
    capsys: pytest.CaptureFixture[str],
    path: str,
    method: str,
) -> None:
    """Every check of schemathesis holds; a callback that is signed is taken, and believed."""
    statuses: list[int] = []

    @examples(
        max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=schema[path][method.upper()].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def play(case: Case[Any]) -> None:
        if path == PATH:
            sign(case)
        statuses.append(case.call_and_validate().status_code)

    before = len(broker.believed)
    play()
    assert 200 in statuses
    assert len(broker.believed) - before == (statuses.count(200) if path == PATH else 0)
    with capsys.disabled():
        say(f"{method} {path}: {len(statuses)} requests, {statuses.count(200)} answered 200")


@pytest.mark.parametrize("method", ["post", "get"])
def test_malformed_requests(
    schema: Any, broker: RecordingBroker, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    """Every check of schemathesis holds, and nothing is believed."""
    statuses: list[int] = []

    @examples(
        max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=schema[PATH][method.upper()].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def play(case: Case[Any]) -> None:
        statuses.append(case.call_and_validate().status_code)

    before = len(broker.believed)
    play()
    assert len(broker.believed) == before
    assert 200 not in statuses
    with capsys.disabled():
        say(f"{method} {PATH}: {len(statuses)} malformed requests")
