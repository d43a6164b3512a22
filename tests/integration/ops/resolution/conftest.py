"""A clock that stands still, and whole journals after every test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from shared.storage import journal_audit
from shared.storage.encryption import NO_ENCRYPTION
from tests.support.jobs import Clock, freeze_clock

if TYPE_CHECKING:
    from tests.integration.conftest import World


@pytest.fixture
def clock(world: World) -> Clock:
    return freeze_clock(world)


@pytest.fixture(autouse=True)
def _every_chain_holds(world: World) -> Iterator[None]:
    """Whatever was done, the journals are whole."""
    yield
    assert not [found for found in journal_audit.audit_chains(world.engine, NO_ENCRYPTION) if found]
