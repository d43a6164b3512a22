"""A backlog that is much longer than a lease, with real processes: everything is sent, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from devstack.wait import wait_for
from shared.clock import utcnow
from shared.domain import lifecycle
from shared.domain.accounts import gateway_of
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_service_payout
from tests.support.service import Service

SETTINGS = {
    "EPAY_TOTAL_TIMEOUT": "2",
    "SWEEP_BATCH": "200",
    "SWEEP_SECONDS": "0.5",
    "BREAKER_FAILURES": "1000",
    "EPAY_QUERY_BACKOFF": "600",  # queries of what is sent are not what is tried here
}


@dataclass(frozen=True)
class Backlog:
    """So many requests, and as many payouts that are queued already."""

    payouts: int
    lease: int
    """Seconds; the backlog must take longer."""


@pytest.fixture
def alone(make_service: Any, backlog: Backlog) -> Iterator[Service]:
    times = {"EPAY_LEASE_SECONDS": str(backlog.lease), "EPAY_SETTLE_SECONDS": "30"}
    made: Service = make_service({**SETTINGS, **times}, pay_after=1000)
    yield made
    made.processes.terminate_all()


def put_queued(service: Service, count: int) -> None:
    """Payouts that are due, as after a pause; and a record of each dispatch by the sweep."""
    engine = make_engine(service.database_url, pool_size=1)
    now, gateway = utcnow(), gateway_of(service.gateway.base_url)
    steps = [
        lifecycle.accept_queued(
            make_service_payout(f"queued-{nth}", now, epay_gateway=gateway), now=now
        )
        for nth in range(count)
    ]
    PayoutStore(engine).insert(steps)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE dispatch (payout_id bigint, at timestamptz DEFAULT clock_timestamp());"
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO dispatch (payout_id) VALUES (NEW.id); RETURN NEW; END $$;"
            "CREATE TRIGGER note AFTER UPDATE OF due_at ON payout FOR EACH ROW"
            " WHEN (OLD.status = 'queued' AND NEW.status = 'queued'"
            " AND OLD.due_at <> NEW.due_at) EXECUTE FUNCTION note()"
        )
    engine.dispose()


@pytest.mark.parametrize(
    "backlog",
    [
        Backlog(1_000, 3),
        pytest.param(Backlog(10_000, 10), marks=[pytest.mark.chaos, pytest.mark.timeout(1500)]),
    ],
    ids=str,
)
def test_a_backlog_longer_than_a_lease_drains(alone: Service, backlog: Backlog) -> None:
    """Requests and queued payouts for many leases: no payout is dispatched while it still waits.

    The sender runs under the command line of before, `-Q payouts`, and takes the submits too.
    """
    put_queued(alone, backlog.payouts)
    for nth in range(backlog.payouts):
        alone.ask(f"order-{nth}")
    alone.start_worker(queues=("payouts.reconcile", "payouts.notify"))
    alone.start_beat()
    alone.start_worker("-c", "1", queues=("payouts",))

    def all_sent() -> bool:
        counts = dict(alone.sql("SELECT status, count(*) FROM payout GROUP BY status"))
        return counts == {"processing": 2 * backlog.payouts}

    wait_for(all_sent, 200 + backlog.payouts / 10, "everything to be sent")
    orders = alone.gateway.ledger()["orders"].values()
    assert {order["creates_received"] for order in orders} == {1}
    [dispatched] = alone.sql(
        "SELECT count(*) AS times, min(extract(epoch FROM gap)) AS soonest FROM (SELECT"
        " at - lag(at) OVER (PARTITION BY payout_id ORDER BY at) AS gap FROM dispatch) AS each"
    )
    # one that a slow worker holds when its lease expires is dispatched again, after the lease
    assert dispatched.times <= backlog.payouts * 1.02
    assert dispatched.soonest is None or dispatched.soonest >= backlog.lease
    [drain] = alone.sql(
        "SELECT extract(epoch FROM max(p.first_sent_at) - min(d.at)) AS seconds"
        " FROM dispatch d JOIN payout p ON p.id = d.payout_id"
    )
    assert drain.seconds > backlog.lease, "the backlog was no longer than a lease"
