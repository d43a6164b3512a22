"""With Redis away: EPAY has to come again, and /readyz says so."""

from __future__ import annotations

import socket
import time

from flask.testing import FlaskClient

from devstack.ports import free_port
from tests.support.callbacks import fields, post, signed
from tests.support.webhook import settings
from webhook import create_app

GIVEN_UP = 15
"""Two tries of a publish, 5 s each: a third one would take that long."""


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
