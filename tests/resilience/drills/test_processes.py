"""Workers are killed, replaced and doubled, the clock too: each payout is sent once and ends."""

from __future__ import annotations

import signal
import threading
import time
from datetime import UTC, datetime

import pytest

from tests.support.drill import LEASE, QUERIED, Drill


def test_worker_killed(drill: Drill) -> None:
    """SIGKILL amid requests on the wire: the lease frees what it had, and EPAY is asked."""
    drill.service.gateway.set_faults(latency_seconds=0.8)
    drill.ask(50, QUERIED)
    drill.until(lambda: drill.creates() >= 10, 60, "requests on the wire")
    crash = datetime.now(UTC)
    began = time.monotonic()
    drill.service.processes[drill.workers.pop()].kill()
    drill.service.gateway.clear_faults()
    in_doubt = [no for no, status in drill.statuses().items() if status == "submitting"]
    drill.workers.append(drill.start_worker())
    drill.note("from the crash to the next worker ready", time.monotonic() - began)
    drill.until(lambda: drill.events("lease_over"), LEASE + 10, "a lease to be over")
    reclaim = (drill.events("lease_over")[0].at - crash).total_seconds()
    drill.count("payouts in the dead worker's hands", len(in_doubt))
    drill.note(f"from the crash to the first re-claim (lease {LEASE} s)", reclaim)
    drill.until_status(drill.statuses(), "succeeded", timeout=60)
    # What the worker held and had not begun comes back by itself; asked for again it comes sooner.
    drill.count(
        "requests without a row, asked for again", len(drill.ask_again(drill.orders, QUERIED))
    )
    drill.finish(timeout=60)
    drill.note("from the crash to the last end", time.monotonic() - began)
    assert {event.merchant_order_no for event in drill.events("lease_over")} <= set(in_doubt)
    assert drill.creates() == 50


def test_beat_doubled(drill: Drill) -> None:
    """Two clocks tick: nothing is sent twice, and EPAY is not asked more often."""
    twin = "beat-twin"
    command = drill.service.processes["beat"].argv
    log = drill.service.logs / f"{twin}.log"
    drill.service.processes.start(twin, command, drill.service.environment, log)
    began = time.monotonic()
    try:
        drill.ask(10, f"{QUERIED} sandbox:pending=2")
        drill.finish(timeout=60)
    finally:
        drill.service.processes.stop(twin)
    orders = drill.service.gateway.ledger()["orders"]
    most = max(orders[no]["queries"] for no in drill.orders)
    drill.count("most queries for one payout in 2 s of waiting", most)
    # The pauses between queries are 1, 1, 2 s, a tenth less at the least.
    assert most <= 1 + (time.monotonic() - began) / 0.9
    assert drill.creates() == 10


def test_beat_away(drill: Drill) -> None:
    """No clock: requests are sent and callbacks taken; the rest waits for it, and then ends."""
    drill.service.processes.stop("beat")
    called_back = drill.ask(5)
    queried = drill.ask(5, QUERIED)
    drill.until_status(called_back, "succeeded", timeout=60)
    drill.until_status(queried, "processing", timeout=60)
    due = drill.service.sql(
        "SELECT max(due_at) AS at FROM payout WHERE merchant_order_no = ANY(%s)", queried
    )[0].at
    drill.until(lambda: datetime.now(UTC) > due, 60, "all to be overdue")
    assert set(drill.statuses().values()) == {"succeeded", "processing"}
    drill.service.start_beat()
    drill.note("from the clock's return to the last end", drill.finish(timeout=60))


def _restart(drill: Drill, times: int) -> None:
    drill.service.gateway.set_faults(latency_seconds=0.3)
    over = threading.Event()

    def load() -> None:
        while not over.wait(0.1):
            drill.ask(2)

    asking = threading.Thread(target=load)
    asking.start()
    began = time.monotonic()
    try:
        drill.until(lambda: drill.creates() >= 5, 60, "load")
        for _ in range(times):
            drill.replace_worker(drill.workers[0], drill.start_worker())
            sent = drill.creates()
            drill.until(lambda enough=sent + 5: drill.creates() >= enough, 60, "the next at work")
    finally:
        over.set()
        asking.join()
    drill.note(f"workers replaced one after the other: {times}", time.monotonic() - began)
    drill.note("from the end of the load to the last end", drill.finish(timeout=60))
    drill.count("payouts asked for meanwhile", len(drill.orders))
    assert drill.creates() == len(drill.orders)
    assert drill.events("lease_over") == []


def test_rolling_restart(drill: Drill) -> None:
    """A worker is replaced under load with SIGTERM: nothing is lost, nothing is sent twice."""
    _restart(drill, times=1)


@pytest.mark.chaos
def test_rolling_restarts(drill: Drill) -> None:
    """The same, four times on end."""
    _restart(drill, times=4)


@pytest.mark.chaos
def test_worker_suspended_beyond_its_lease(drill: Drill) -> None:
    """A worker sleeps through its leases and wakes up: what it still sends is not sent again."""
    drill.service.gateway.set_faults(latency_seconds=0.5)
    second = drill.start_worker()
    drill.ask(40, QUERIED)
    drill.until(lambda: drill.creates() >= 5, 60, "requests on the wire")
    drill.service.processes[second].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        drill.until(lambda: time.monotonic() - began > LEASE + 1.5, 60, "all leases to be over")
    finally:
        drill.service.processes[second].send_signal(signal.SIGCONT)
    drill.finish(timeout=60)
    drill.note("from the suspension to the last end", time.monotonic() - began)
    drill.count("leases that ran out", len(drill.events("lease_over")))
    drill.replace_worker(drill.workers[0], second)
