"""Messages that no Celery would send, on the queue of the payouts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Producer

from tests.support.factories import request_kwargs
from tests.support.servers import flush
from tests.support.service import Service

ACCOUNT_NO = "U9876543210"
KWARGS = request_kwargs("rubbish") | {"account_no": ACCOUNT_NO}

RUBBISH: dict[str, tuple[Any, dict[str, Any]]] = {
    "an object": ({"hello": 1}, {}),
    "a list": ([1], {}),
    "old form, no id": ({"task": "payouts.request", "kwargs": KWARGS}, {}),
    "old form, unknown task, no id": ({"task": "payouts.nonsense", "kwargs": KWARGS}, {}),
    "task is a number": ({"task": 1}, {}),
    "no id": ([[], KWARGS, {}], {"task": "payouts.request"}),
    "unknown task, no id": ([[], KWARGS, {}], {"task": "payouts.nonsense"}),
    "unknown task": ([[], KWARGS, {}], {"task": "payouts.nonsense", "id": "1"}),
    "body is a text": ("x", {"task": "payouts.request", "id": "2"}),
    "body is an object": ({"a": 1}, {"task": "payouts.request", "id": "3"}),
    "body is too short": ([[]], {"task": "payouts.request", "id": "4"}),
    "kwargs are a list": ([[], [], {}], {"task": "payouts.request", "id": "5"}),
}


@pytest.fixture(scope="module")
def service(make_service: Any) -> Service:
    """A worker, and nothing else."""
    running: Service = make_service()
    running.start_worker()
    return running


@pytest.fixture
def alive(service: Service) -> Iterator[Service]:
    """A worker that no earlier test has left dead or stuck."""
    yield service
    if any(service.waiting().values()):
        flush(service.redis_url)
    if service.processes.poll():
        service.start_worker()


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_does_not_stop_the_payments(alive: Service, name: str) -> None:
    """A message that is none is gone for good; the worker lives, and the next payout is sent."""
    body, headers = RUBBISH[name]
    order_no = f"after-{list(RUBBISH).index(name)}"
    ended = alive.processes.poll()
    with Connection(alive.redis_url) as connection:
        Producer(connection).publish(
            body, serializer="json", exchange="", routing_key="payouts", headers=headers
        )
    alive.ask(order_no)
    alive.wait_for_status(order_no, "processing", timeout=60)
    alive.wait_until_idle(timeout=60)
    assert alive.processes.poll() == ended


def test_foreign_serialisations_are_refused(alive: Service) -> None:
    """Text and pickles are not read, not kept, and stop nothing."""
    with Connection(alive.redis_url) as connection:
        for content_type, body in {
            "text/plain": ACCOUNT_NO.encode(),
            "application/x-python-serialize": b"\x80\x04N.",
            "application/json": b"{not json",
        }.items():
            Producer(connection).publish(
                body,
                content_type=content_type,
                content_encoding="utf-8",
                exchange="",
                routing_key="payouts",
            )
    alive.ask("after-foreign")
    alive.wait_for_status("after-foreign", "processing", timeout=60)
    alive.wait_until_idle(timeout=60)


def test_no_log_repeats_a_message(service: Service) -> None:
    """A message that cannot be taken may hold an account number: no log repeats its body."""
    texts = [path.read_text(errors="replace") for path in service.logs.glob("*.log")]
    assert sum(text.count(ACCOUNT_NO) for text in texts) == 0
