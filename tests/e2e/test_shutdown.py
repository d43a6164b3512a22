"""Stopping a worker under load: deploying must neither lose a payout nor pay one twice."""

from __future__ import annotations

from typing import Any

from devstack.wait import wait_for
from tests.support.service import OUTCOME_QUEUE, OUTCOME_TASK, Outcomes, Service

N = 50
SLOW = 3.0
"""Of a gateway that takes 8 at a time: five more turns, 15 s, for the signal to come in."""
PATIENT = {
    "EPAY_READ_TIMEOUT": "30",
    "EPAY_TOTAL_TIMEOUT": "35",
    "EPAY_LEASE_SECONDS": "90",
    "EPAY_SETTLE_SECONDS": "125",
}
"""A slow machine makes no answer late."""


def test_sigterm_under_load(make_service: Any) -> None:
    """A worker that is told to stop finishes what it has sent, and the next one does the rest."""
    service: Service = make_service(PATIENT)
    service.gateway.set_faults(latency_seconds=SLOW)
    service.start_webhook()
    first = service.start_worker("-c", "8")
    for number in range(N):
        service.ask(f"stop-{number}", notify={"task": OUTCOME_TASK, "queue": OUTCOME_QUEUE})

    def creates() -> int:
        return int(service.gateway.ledger()["totals"]["creates_received"])

    wait_for(lambda: creates() >= 10, 60, "the gateway to be busy")
    assert service.processes.stop(first) == 0
    sent = creates()
    assert 10 <= sent < N
    # What was begun is answered and on disk; what was not is back on the queue.
    assert service.sql("SELECT 1 FROM payout WHERE status = 'submitting'") == []
    rows = service.sql("SELECT count(*) FROM payout")[0].count
    waiting = service.waiting()
    assert (rows, rows + waiting["payouts"], waiting["unacked"]) == (sent, N, 0)

    service.gateway.clear_faults()
    service.start_beat()
    service.start_worker()
    with Outcomes(service.redis_url) as outcomes:
        wait_for(lambda: len(outcomes.heard) >= N, 60, "all outcomes")
        service.wait_until_idle()
    totals = service.gateway.ledger()["totals"]
    assert (totals["paid_orders"], totals["payments"], totals["paid_twice"]) == (N, N, 0)
    assert {heard["status"] for heard in outcomes.heard} == {"succeeded"}
    assert len({heard["merchant_order_no"] for heard in outcomes.heard}) == N
