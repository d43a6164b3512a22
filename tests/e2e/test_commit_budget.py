"""What one payout costs, counted where it is paid for: in PostgreSQL, in Redis, at the gateway."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import redis

from devstack.wait import wait_for
from tests.support.servers import PostgresServer
from tests.support.service import Service

N = 120
PER_CONNECTION = 4
"""PostgreSQL counts a commit for the login, and one for each statement (insert and claim, answer,
what is paused) when it is first prepared outside of a transaction. All of that is fewer than a
fourth commit a payout would be."""
WEBHOOK_CONNECTIONS = 1
WORKER_CONNECTIONS = 10 + 1
"""A worker's pool (`DB_POOL_SIZE`), and the connection of its startup checks."""
PAUSE_READ_SECONDS = 0.75
"""A process reads what is paused while it sends, and no more often than this."""


def _sessions_and_commits(postgres: PostgresServer, database_url: str) -> tuple[int, int]:
    """Ask from another database, so that asking does not count."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(postgres.url) as connection:
        row = connection.execute(
            "SELECT sessions, xact_commit FROM pg_stat_database WHERE datname = %s", [name]
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def _clients(postgres: PostgresServer, database_url: str) -> int:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(postgres.url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            " AND application_name = 'epay-payouts'",
            [name],
        ).fetchone()
    assert row is not None
    return int(row[0])


def _overtaken(service: Service) -> int:
    """Payouts whose callback came before the answer was recorded: lawful, and a commit more."""
    return int(
        service.sql(
            "SELECT count(*) FROM payout_event a JOIN payout_event b USING (payout_id)"
            " WHERE a.kind = 'callback_report' AND b.kind = 'create_report'"
            " AND a.sequence < b.sequence"
        )[0].count
    )


def _published(service: Service) -> int:
    with redis.Redis.from_url(service.redis_url) as client:
        return int(client.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0))


def test_three_commits_two_messages_one_request(
    make_service: Any, postgres: PostgresServer
) -> None:
    """A payout's normal life: 3 commits, 2 messages (request and callback), 1 request to EPAY.

    Payouts that come at the same moment share a commit, so it may be fewer. The pauses are read in
    addition, at intervals and not per payout.

    Counted over the whole life of a worker: a backend reports its last numbers when it ends.
    """
    service: Service = make_service(
        {
            "EPAY_READ_TIMEOUT": "30",
            "EPAY_TOTAL_TIMEOUT": "35",
            "EPAY_LEASE_SECONDS": "90",
            "EPAY_SETTLE_SECONDS": "125",
        },
        pay_after=1.5,
    )
    service.start_webhook()
    sessions, commits = _sessions_and_commits(postgres, service.database_url)
    messages = _published(service)
    worker = service.start_worker()
    began = time.monotonic()
    for number in range(N):
        service.ask(f"cost-{number}")

    wait_for(lambda: len(service.gateway.log.since(0)) >= N, 60, "all to be sent")
    reads = int((time.monotonic() - began) / PAUSE_READ_SECONDS) + 2

    def all_called_back() -> bool:
        totals = service.gateway.ledger()["totals"]
        return bool(totals["callbacks_acknowledged"] == N)

    wait_for(all_called_back, 60, "all callbacks to be taken")
    service.wait_until_idle()
    messages = _published(service) - messages
    assert service.processes.stop(worker) == 0

    before = [(0, 0)]

    def flushed() -> tuple[int, int] | None:
        last, before[:] = before[0], [_sessions_and_commits(postgres, service.database_url)]
        ended = _clients(postgres, service.database_url) <= WEBHOOK_CONNECTIONS
        return last if last == before[0] and ended else None

    sessions_after, commits_after = wait_for(flushed, 60, "the backends' last numbers")
    connections = sessions_after - sessions
    assert service.sql("SELECT count(*) FROM payout WHERE status = 'succeeded'")[0].count == N
    requests = service.gateway.log.since(0)
    assert [call for _, call, _ in requests] == ["createEwalletTransaction"] * N
    assert messages <= 2 * N
    assert 0 < connections <= WORKER_CONNECTIONS < N / 2
    spent = commits_after - commits - _overtaken(service)
    assert reads + PER_CONNECTION * connections < N
    assert N < spent <= 3 * N + reads + PER_CONNECTION * connections
