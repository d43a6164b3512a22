"""`celery -A worker`: the app that Celery finds, and the transport that a setting chooses."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.paths import PROGRAMS
from tests.support.service import bare_environment

SETTINGS = {
    "DATABASE_URL": "postgresql://payouts@127.0.0.1:1/payouts",
    "EPAY_BASE_URL": "http://127.0.0.1:1/capi/openapi",
    "EPAY_ACCOUNT": "test2020@epay.com",
    "EPAY_API_KEY": "TESTKEY123",
}


@pytest.mark.parametrize(
    ("scheme", "atomic_fetch", "transport"),
    [
        ("redis", "on", "worker.broker.channel:Transport"),
        ("redis", "off", "redis"),
        ("rediss", "on", "worker.broker.channel:Transport"),
        ("rediss", "off", "rediss"),
    ],
)
def test_celery_finds_the_app_and_its_transport(
    scheme: str, atomic_fetch: str, transport: str
) -> None:
    """`-A worker` is the app of worker.celery; with "off" kombu uses its own transport."""
    url = f"{scheme}://127.0.0.1:1/0"
    settings = SETTINGS | {"REDIS_URL": url, "BROKER_ATOMIC_FETCH": atomic_fetch}
    report = subprocess.run(
        [str(PROGRAMS / "celery"), "-A", "worker", "report"],
        env=bare_environment() | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert f"settings -> transport:{transport} " in report
    assert "worker_consumer: 'worker.broker.consumer:StrictConsumer'" in report
