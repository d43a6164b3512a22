"""PostgreSQL is away: nothing is sent without its intent on disk, and no task is lost."""

from __future__ import annotations

import time

import pytest

from tests.support.drill import QUERIED, VISIBILITY, Drill

AWAY_SECONDS = 5.0
LONG_AWAY_SECONDS = 30.0


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What the worker's log said during the outage."""
    return []


def _outage(drill: Drill, away: float) -> str:
    """PostgreSQL crashes under load; what the worker's log says of it."""
    log = drill.service.log
    worker = drill.workers[0]
    before = len(log(worker))
    drill.service.gateway.set_faults(latency_seconds=0.5)
    drill.ask(40, QUERIED)
    drill.until(lambda: drill.creates() >= 5, 60, "requests on the wire")
    drill.postgres.kill()
    began = time.monotonic()
    drill.service.gateway.clear_faults()
    drill.ask(20, QUERIED)
    late = drill.start_worker_unwaited()
    drill.until(lambda: "waiting_for_server" in log(late), 60, "the late worker to wait")
    drill.until(lambda: time.monotonic() - began > 3, 60, "what was on the wire to be answered")
    sent = drill.creates()
    drill.until(lambda: time.monotonic() - began > away, away, "the outage to last")
    assert drill.creates() == sent
    drill.postgres.start()
    back = time.monotonic()
    drill.until_status(drill.orders, timeout=60)
    drill.note(f"from its return after {away:g} s to all on disk", time.monotonic() - back)
    drill.finish(timeout=60)
    drill.note("from its return to the last end", time.monotonic() - back)
    drill.count("payouts whose answer could not be recorded", len(drill.events("lease_over")))
    assert drill.creates() == len(drill.orders)
    drill.until(lambda: " ready." in log(late), 60, "the late worker to be ready")
    assert log(late).count("waiting_for_server") == 1
    said = log(worker)[before:]
    drill.replace_worker(worker, late)
    drill.ask(5, QUERIED)
    drill.finish(timeout=60)
    return said


def test_postgres_away(drill: Drill, told: list[str]) -> None:
    """PostgreSQL crashes under load and is away for a while: work resumes by itself."""
    told.append(_outage(drill, AWAY_SECONDS))


def test_an_outage_is_told_once(told: list[str]) -> None:
    """The worker's log: PostgreSQL went, PostgreSQL came back, and nothing else about it."""
    (said,) = told
    assert said.count("database_away") == 1
    assert said.count("database_back") == 1
    assert said.count("stamina.retry_scheduled") == 0
    assert said.count("Traceback") == 0


@pytest.mark.chaos
def test_postgres_away_for_long(drill: Drill) -> None:
    """The same for half a minute."""
    _outage(drill, LONG_AWAY_SECONDS)


@pytest.mark.chaos
def test_worker_killed_while_postgres_is_away(drill: Drill) -> None:
    """SIGKILL of a worker that holds requests not yet on disk: Redis hands them out again."""
    drill.postgres.kill()
    drill.ask(20, QUERIED)
    drill.until(lambda: drill.service.waiting()["unacked"] >= 20, 60, "the worker to hold them")
    began = time.monotonic()
    drill.service.processes[drill.workers.pop()].kill()
    drill.postgres.start()
    drill.workers.append(drill.start_worker())
    drill.until_status(drill.orders, timeout=VISIBILITY + 25)
    drill.note(
        f"from the crash to all on disk (visibility {VISIBILITY} s)", time.monotonic() - began
    )
    drill.finish(timeout=60)
    assert drill.creates() == 20
