"""The brakes at full size, on real processes: a pause, a rate, a gateway that is away.

The figures are printed at the end of each: run with `-s` to see them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from devstack.postgres import LocalPostgres
from devstack.redis import LocalRedis
from devstack.wait import wait_for
from sandbox.settings import Duplicates, SandboxConfig
from shared.domain import circuit_breaker
from shared.storage import migrate
from tests.support.service import NOT_FOUND, PROGRAMS, Service, service

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(560)]

CREATE = "createEwalletTransaction"
TIMES = {
    "EPAY_NOT_FOUND_CODES": NOT_FOUND,
    "EPAY_CONNECT_TIMEOUT": "1",
    "EPAY_READ_TIMEOUT": "5",
    "EPAY_LEASE_SECONDS": "20",
    "EPAY_SETTLE_SECONDS": "30",
    "EPAY_QUERY_BACKOFF": "3,5,10",
    "EPAY_SUBMIT_BACKOFF": "1,2,4",
    "SWEEP_SECONDS": "1",
}
Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the whole service before a gateway that pays whatever it is sent."""
    with ExitStack() as stack:

        def made(workers: int, gateway: dict[str, Any], **settings: str) -> Service:
            postgres = stack.enter_context(LocalPostgres(settings={"max_connections": "100"}))
            broker = stack.enter_context(LocalRedis())
            url = postgres.create_database("brakes")
            migrate.upgrade(url)
            config = SandboxConfig(duplicates=Duplicates.PAY, callback_scale=0.05, **gateway)
            running = stack.enter_context(
                service(url, broker.url, tmp_path, config, {**TIMES, **settings})
            )
            running.start_webhook()
            running.start_beat()
            for _ in range(workers):
                running.start_worker()
            return running

        yield made


def command(running: Service, *arguments: str) -> str:
    """Run `payouts` as a person does."""
    done = subprocess.run(
        [PROGRAMS / "payouts", *arguments],
        env=dict(running.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def calls(running: Service, name: str | None = None, since: float = 0) -> list[float]:
    """When the gateway was called, in order."""
    logged = running.gateway.log.since(since)
    return sorted(at for at, call, _ in logged if name in {None, call})


def all_paid(running: Service, orders: list[str], timeout: float) -> None:
    """Wait until every payout has succeeded, and hold it against the gateway's books."""

    def open_ones() -> int:
        return int(running.sql("SELECT count(*) FROM payout WHERE status <> 'succeeded'")[0].count)

    def done() -> bool:
        accepted = running.sql("SELECT count(*) FROM payout")[0].count
        return accepted == len(orders) and not open_ones()

    wait_for(done, timeout, "every payout to be paid")
    payments = {no: order["payments"] for no, order in running.gateway.ledger()["orders"].items()}
    assert payments == dict.fromkeys(orders, 1)
    assert flagged(running) == 0


def flagged(running: Service) -> int:
    """Payouts that need a person, or were rejected, or ever were."""
    return int(
        running.sql(
            "SELECT count(*) FROM payout p WHERE review_reason IS NOT NULL OR status = 'rejected'"
        )[0].count
    )


def is_open(running: Service) -> bool:
    with redis.Redis.from_url(running.redis_url, decode_responses=True) as client:
        return circuit_breaker.deserialize(client.get(circuit_breaker.KEY)) is not None


def tell(figures: str) -> None:
    sys.stdout.write(f"\n{figures}\n")


def asked_for(running: Service, prefix: str, count: int, **changes: Any) -> list[str]:
    orders = [f"{prefix}-{nth}" for nth in range(count)]
    for no in orders:
        running.ask(no, **changes)
    return orders


def test_a_pause_amid_2000_payouts(start: Start) -> None:
    """No create later than 2 s after it; callbacks and queries go on; on record; all paid once."""
    running = start(2, {"pay_after": 6})
    running.gateway.set_faults(latency_seconds=0.5)
    orders = [f"called-{nth}" for nth in range(1700)]
    asking = threading.Thread(target=lambda: [running.ask(no) for no in orders])
    queried = asked_for(running, "queried", 300, remark="sandbox:no_callback")
    asking.start()
    wait_for(lambda: len(calls(running, CREATE)) > 250, 60, "some to be sent")
    command(running, "pause", "--name", "Ann", "--reason", "audit")
    paused_at = time.time()
    asking.join()
    orders += queried
    acknowledged = running.gateway.ledger()["totals"]["callbacks_acknowledged"]
    time.sleep(25)
    late = [at - paused_at for at in calls(running, CREATE, since=paused_at)]
    sent = len(calls(running, CREATE))
    followed = len(calls(running, "queryTransaction", since=paused_at + 2))
    heard = running.gateway.ledger()["totals"]["callbacks_acknowledged"] - acknowledged
    state = json.loads(command(running, "brakes", "--json"))
    before_resume = time.time()
    command(running, "resume", "--name", "Bob", "--reason", "done")
    resumed_at = time.time()
    all_paid(running, orders, 240)
    seconds = time.time() - resumed_at
    [entry] = json.loads(command(running, "brakes", "--json", "--history"))["pauses"]
    on_record = datetime.fromisoformat(entry["set_at"]).timestamp()
    last = max((at for at in calls(running, CREATE) if at < before_resume), default=0) - on_record
    tell(
        f"pause: {sent} of {len(orders)} sent; {len(late)} creates after it, the last"
        f" {max(late, default=0):.2f} s ({last:.2f} s after its entry); {followed} queries and"
        f" {heard} callbacks during it;"
        f" {state['waiting']} waited; all paid {seconds:.0f} s after resume"
    )
    assert max(late, default=0) <= 2
    assert 250 < sent < 1990
    assert followed > 0
    assert heard > 0
    assert state["waiting"] == len(orders) - sent
    assert (entry["set_by"], entry["reason"]) == ("Ann", "audit")
    assert (entry["lifted_by"], entry["lifted_reason"]) == ("Bob", "done")
    assert entry["set_at"] < entry["lifted_at"]


def test_the_rate_of_four_processes(start: Start) -> None:
    """50 a second: at most 55 in any second over a minute, and 45 on average."""
    running = start(4, {"pay_after": 1}, EPAY_MAX_PER_SECOND="50")
    orders = asked_for(running, "paced", 3300)
    wait_for(lambda: len(calls(running)) > 10, 60, "the first calls")
    began = calls(running)[0] + 2
    wait_for(lambda: time.time() > began + 60, 70, "a minute")
    at = [moment for moment in calls(running, since=began) if moment < began + 60]
    windows = [
        sum(one <= other < one + 1 for other in at[nth : nth + 80]) for nth, one in enumerate(at)
    ]
    tell(
        f"rate: {len(at)} calls in a minute, {len(at) / 60:.1f} a second; at most"
        f" {max(windows)} in any second"
    )
    assert len(at) / 60 >= 45
    assert max(windows) <= 55
    all_paid(running, orders, 120)


@pytest.mark.parametrize("mode", ["refuse", "silent"])
def test_a_gateway_away_for_a_minute_amid_1000_payouts(start: Start, mode: str) -> None:
    """The breaker opens; nothing is rejected or flagged; few probes; all paid once afterwards."""
    running = start(2, {"pay_after": 1})
    orders = [f"away-{nth}" for nth in range(1000)]
    asking = threading.Thread(target=lambda: [running.ask(no) for no in orders])
    asking.start()
    wait_for(lambda: len(calls(running, CREATE)) > 250, 60, "some to be sent")
    running.gateway.set_faults(down_seconds=60, mode=mode)
    began = time.time()
    sent = len(calls(running, CREATE))
    assert sent < 900, "there is something left to send"
    asking.join()
    opened = 0.0
    while time.time() < began + 60:
        if not opened and is_open(running):
            opened = time.time() - began
        assert flagged(running) == 0
        time.sleep(0.5)
    all_paid(running, orders, 240)
    seconds = time.time() - began - 60
    logs = "".join(running.log(f"worker{nth}") for nth in (1, 2))
    probes = [int(found) for found in re.findall(r"breaker_closed.*probes=.*?(\d+)", logs)]
    ended = running.sql(
        "SELECT kind, count(*) FROM payout_event"
        " WHERE kind IN ('never_sent', 'outcome_unknown') GROUP BY kind"
    )
    kinds = {row.kind: row.count for row in ended}
    ours = running.sql(
        "SELECT count(*) FROM payout_event WHERE kind = 'never_sent'"
        " AND detail->>'reason' LIKE 'EPAY does not answer%%'"
    )[0].count
    tell(
        f"away ({mode}): {sent} sent before; open after {opened:.1f} s; ended unanswered"
        f" {kinds}, {ours} of them kept back by us; opened {logs.count('breaker_open')} time(s),"
        f" probes {probes}; all paid {seconds:.0f} s after its return"
    )
    assert opened
    assert sum(probes) <= 10
    assert sum(kinds.values()) - ours <= 120
