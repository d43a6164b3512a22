"""The webhook in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from tests.support.logs import root_logger_restored
from tests.support.webhook import settings
from webhook import create_app


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The app sets up the root logger of its process; ours is another."""
    with root_logger_restored():
        yield


@pytest.fixture
def client(redis_url: str) -> FlaskClient:
    return create_app(settings(redis_url)).test_client()
