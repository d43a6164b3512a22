"""PostgreSQL is away: nothing is sent without its intent on disk, and no task is lost."""

from __future__ import annotations

import time

import pytest

from tests.drills.support import QUERIED, Drill

AWAY_SECONDS = 10.0
LONG_AWAY_SECONDS = 30.0


def _outage(drill: Drill, away: float) -> None:
    gateway, processes, log = drill.service.gateway, drill.service.processes, drill.service.log
    worker = drill.workers[0]
    before = len(log(worker))
    gateway.set_faults(latency_seconds=0.5)
    drill.ask(40, QUERIED)
    drill.until(lambda: drill.creates() >= 5, 10, "requests on the wire")
    drill.postgres.stop_immediate()
    began = time.monotonic()
    gateway.clear_faults()
    sent = drill.creates
    drill.ask(20, QUERIED)
    late = drill.start_worker_unwaited()
    drill.until(lambda: time.monotonic() - began > 3, 5, "what was on the wire to be answered")
    sent_before = sent()
    drill.until(lambda: time.monotonic() - began >= away, away + 5, "the outage to last")
    assert sent() == sent_before
    assert "waiting_for_server" in log(late)
    drill.postgres.start()
    back = time.monotonic()
    drill.until(drill.statuses, 5, "the rows")
    drill.until_status(drill.orders, timeout=20)
    drill.note("from its return to all asked for on disk", time.monotonic() - back)
    drill.finish(timeout=40)
    drill.note("from its return to the last end", time.monotonic() - back)
    drill.until(lambda: " ready." in log(late), 10, "the late worker to be ready")
    told = log(worker)[before:]
    drill.count("lines in the worker's log about the outage", len(told.splitlines()))
    assert drill.creates() == len(drill.orders)
    assert told.count("database_away") == 1
    assert told.count("database_back") == 1
    assert told.count("Traceback") == 0
    assert log(late).count("waiting_for_server") == 1
    assert told.count("stamina.retry_scheduled") == 0
    drill.replace_worker(worker, late)
    assert processes[worker].returncode == 0


def test_postgres_away(drill: Drill) -> None:
    """PostgreSQL crashes under load and is away for a while: work resumes by itself."""
    _outage(drill, AWAY_SECONDS)


@pytest.mark.chaos
def test_postgres_away_for_long(drill: Drill) -> None:
    """The same for half a minute."""
    _outage(drill, LONG_AWAY_SECONDS)
