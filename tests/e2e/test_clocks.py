"""A clock that is wrong costs only its own process (law 15): beat on a machine of another time."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from devstack.wait import wait_for
from tests.e2e.beat_wrong_clock import SET_BACK_AFTER
from tests.support.service import OUTCOME_QUEUE, OUTCOME_TASK, Outcomes, Service

NOTIFY = {"task": OUTCOME_TASK, "queue": OUTCOME_QUEUE}


@pytest.fixture
def alone(make_service: Any) -> Any:
    """A service with a worker; no webhook, so that each end is found by sweeps and queries."""
    made: Service = make_service()
    made.start_worker()
    yield made
    made.processes.terminate_all()


def start_beat(service: Service, command: list[str]) -> None:
    service.processes.start(
        "beat",
        command,
        env=service.environment,
        log_path=service.logs / "beat.log",
    )


def last_sweep(service: Service) -> Any:
    """When the last sweep ran, by PostgreSQL's clock; None before the first."""
    rows = service.sql("SELECT at FROM payout_mark WHERE name = 'sweep'")
    return rows[0].at if rows else None


def wait_for_sweeps(service: Service, count: int = 3) -> None:
    for _ in range(count):
        seen = last_sweep(service)
        wait_for(lambda seen=seen: last_sweep(service) != seen, 60, "a sweep")


@pytest.mark.parametrize("offset", ["-7", "7"])
def test_beat_seven_seconds_off(alone: Service, offset: str) -> None:
    """Outcomes are told and sweeps run; beat says that its clock is wrong."""
    start_beat(alone, [sys.executable, "-m", "tests.e2e.beat_wrong_clock", offset])
    with Outcomes(alone.redis_url) as outcomes:
        alone.ask("order-1", notify=NOTIFY)
        [told] = outcomes.wait_for("order-1", 1)
    assert told["status"] == "succeeded"
    wait_for_sweeps(alone)
    assert "clocks_disagree" in alone.log("beat")


def test_a_clock_set_back_does_not_stop_beat(alone: Service) -> None:
    """By an hour, while it runs: the ticks go on."""
    start_beat(alone, [sys.executable, "-m", "tests.e2e.beat_wrong_clock"])
    began = time.monotonic()
    wait_for_sweeps(alone)
    time.sleep(max(0.0, began + SET_BACK_AFTER + 5 - time.monotonic()))
    wait_for_sweeps(alone, 4)
