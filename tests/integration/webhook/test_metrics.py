"""/metrics counts the answers."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from devstack.ports import free_port
from tests.support.callbacks import fields, post, signed
from tests.support.webhook import FORM, settings
from webhook import create_app


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
