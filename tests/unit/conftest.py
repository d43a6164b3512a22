"""A unit test opens no socket and starts no process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.isolation import no_socket_no_process


@pytest.fixture(scope="module", autouse=True)
def _no_socket_no_process() -> Iterator[None]:
    """Of a module: what its own fixtures start counts too."""
    with no_socket_no_process():
        yield
