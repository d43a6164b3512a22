"""What is unsafe in the settings alone; the servers are checked in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest

from shared.config.settings import Settings
from shared.observability import startup_checks


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


def test_safe_settings() -> None:
    """The defaults are safe."""
    assert startup_checks.check_settings(settings(redis_url="redis://127.0.0.1/0")) == []


@pytest.mark.parametrize(("settle", "safe"), [(1, False), (99, False), (100, True)])
def test_settle_time_outlives_a_send(settle: int, safe: bool) -> None:
    """Absence must not be proven while the request itself may still be on its way."""
    found = startup_checks.check_settings(
        settings(epay_settle_seconds=settle, epay_total_timeout=40, epay_lease_seconds=60)
    )
    assert (found == []) is safe
    assert safe or "the total timeout and the lease together (100 s)" in found[0]


@pytest.mark.parametrize(("visibility", "safe"), [(60, False), (61, True)])
def test_visibility(visibility: int, safe: bool) -> None:
    """A message must not come again while its task runs: visibility above the lease."""
    found = startup_checks.check_settings(settings(broker_visibility_timeout=visibility))
    assert (found == []) is safe
    assert safe or "Raise it, or lower EPAY_LEASE_SECONDS or EPAY_TOTAL_TIMEOUT." in found[0]
