"""Our workers beside other apps on one Redis, and after workers of earlier releases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import redis

from devstack.wait import wait_for
from shared.messaging.celery_config import KOMBU_UNACKED_KEYS, UNACKED_KEYS
from tests.e2e.neighbour import DELAYED, GO, LONG, QUEUE, runs_key
from tests.support.broker import make_older, put_among_unacked
from tests.support.factories import request_kwargs
from tests.support.paths import PROGRAMS
from tests.support.service import Service

VISIBILITY = 3
"""The shortest that the startup checks allow beside the lease below, in seconds."""
SETTINGS = {
    "BROKER_VISIBILITY_TIMEOUT": str(VISIBILITY),
    "EPAY_LEASE_SECONDS": "2",
    "EPAY_CONNECT_TIMEOUT": "0.3",
    "EPAY_READ_TIMEOUT": "1",
    "EPAY_TOTAL_TIMEOUT": "1.5",
}
ROUND = 10
"""Seconds between two searches of a worker for overdue messages: `unacked_restore_interval`."""


@pytest.fixture
def alone(make_service: Any) -> Iterator[Service]:
    """The surroundings of the service, no process yet; what a test starts ends with it."""
    made: Service = make_service(SETTINGS)
    yield made
    made.processes.terminate_all()


@pytest.fixture
def client(alone: Service) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(alone.redis_url, decode_responses=True) as client:
        yield client


def start_neighbour(service: Service) -> str:
    command = [str(PROGRAMS / "celery"), "-A", "tests.e2e.neighbour", "worker", "-l", "info"]
    service._start("neighbour", [*command, "-Q", QUEUE, "-c", "4", "-n", "neighbour@%h"])
    wait_for(lambda: " ready." in service.log("neighbour"), 30, "the neighbour to be ready")
    return "neighbour"


def leave_request(
    service: Service, client: redis.Redis, keys: Mapping[str, str], order_no: str
) -> str:
    """A request in the hands of a worker that was killed."""
    return put_among_unacked(
        client,
        keys,
        "payouts",
        service.client_app,
        "payouts.request",
        kwargs=request_kwargs(order_no),
    )


def test_tasks_of_other_apps_run_once(alone: Service, client: redis.Redis) -> None:
    """A long task and one with a countdown outlast our visibility timeout: neither comes twice."""
    alone.start_worker()
    neighbour = start_neighbour(alone)
    # outlasts the worker's first search after the visibility timeout, which is what is awaited
    countdown = VISIBILITY + ROUND + 7
    sent = {
        LONG: alone.client_app.send_task(LONG, queue=QUEUE).id,
        DELAYED: alone.client_app.send_task(DELAYED, queue=QUEUE, countdown=countdown).id,
    }
    wait_for(lambda: client.hlen(KOMBU_UNACKED_KEYS["unacked_key"]) == 2, 10, "both to be taken")
    wait_for(lambda: client.exists(runs_key(LONG)) == 1, 10, "the long task to run")

    # taken after theirs: once it is restored, theirs would have been, too
    leave_request(alone, client, UNACKED_KEYS, "beside")
    wait_for(lambda: alone.row("beside"), VISIBILITY + ROUND + 15, "our own message to come again")
    wait_for(lambda: not client.llen(QUEUE), 10, "the neighbour to have taken what there is")

    wait_for(
        lambda: client.exists(runs_key(DELAYED)) == 1, countdown + 15, "the delayed task to run"
    )
    client.set(GO, "1")
    assert alone.processes.stop(neighbour) == 0, "it finishes what it has"
    runs = {task: client.lrange(runs_key(task), 0, -1) for task in sent}
    assert runs == {task: [task_id] for task, task_id in sent.items()}


def test_messages_that_old_workers_held_come_back(alone: Service, client: redis.Redis) -> None:
    """At the start, and later what an old worker held that was killed after the start."""
    before = leave_request(alone, client, KOMBU_UNACKED_KEYS, "before")
    theirs = put_among_unacked(client, KOMBU_UNACKED_KEYS, QUEUE, alone.client_app, LONG)
    make_older(client, KOMBU_UNACKED_KEYS, VISIBILITY, before, theirs)
    worker = alone.start_worker()
    wait_for(lambda: alone.row("before"), 15, "the message from before the start")

    began = time.time()
    leave_request(alone, client, KOMBU_UNACKED_KEYS, "after")
    wait_for(lambda: alone.row("after"), 3 * VISIBILITY + 15, "the message from after the start")
    assert time.time() - began >= VISIBILITY, "not while an old worker may have it"
    assert client.hkeys(KOMBU_UNACKED_KEYS["unacked_key"]) == [theirs]
    wait_for(lambda: alone.log(worker).count("messages_restored") == 2, 5, "a line for each round")
