"""The run of the demo: request payouts, watch them, verify the result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis
import requests
from rich.live import Live
from sqlalchemy import Engine, select

from devstack.wait import wait_for
from ops.connections import open_database
from ops.console import counted, out, say
from ops.demo.client_app import ClientApp, connected
from ops.demo.display import live_table, print_summary
from ops.demo.scenario import FAULTS, NOT_FOUND_CODE, REFUSED_CODE, Planned, plan_payouts
from ops.demo.services import Services, running
from ops.demo.verify import Paid, Verdict, judge
from ops.errors import UserError
from shared.domain import circuit_breaker
from shared.domain.payout import Status
from shared.domain.transitions import FINAL
from shared.storage.tables import metadata

_SETTINGS = {
    "EPAY_NOT_FOUND_CODES": NOT_FOUND_CODE,
    "EPAY_REFUSED_CODES": REFUSED_CODE,
    "EPAY_CONNECT_TIMEOUT": "1",
    "EPAY_READ_TIMEOUT": "2",
    "EPAY_LEASE_SECONDS": "4",
    "EPAY_SETTLE_SECONDS": "7",
    "EPAY_QUERY_BACKOFF": "2,2,3",
    "EPAY_SUBMIT_BACKOFF": "1,2",
    "BREAKER_FAILURES": "1000",
    "SWEEP_SECONDS": "1",
}
"""The service's settings with shorter times.

One of three payouts meets a fault, which looks like an outage: the breaker's bound is out of reach.
"""

_SANDBOX = {
    "SANDBOX_DUPLICATES": "pay",
    "SANDBOX_CALLBACK_SCALE": "0.05",
    "SANDBOX_SILENCE_SECONDS": "8",
    "SANDBOX_LATE_CALLBACK_SECONDS": "10",
}
"""The gateway pays a second create of the same order again: only the service prevents it."""

_LEDGER_SECONDS = 30.0
"""How long to wait for a gateway that is away at the end: its outages last 2 s each."""
_LONGEST_SECONDS = 300.0
"""The run ends after this time even with progress."""


def run(logs: Path, *, count: int, limit: float) -> int:
    """Run the demo.

    Args:
        logs: the folder for the logs of all processes.
        count: how many payouts.
        limit: seconds without progress after which the run ends.

    Returns:
        The exit code: 0 if every payout has the right final status, 1 if a guarantee is broken, 2
        if none is and some payouts did not finish in time.

    Raises:
        UserError: the gateway was away at the end and did not come back.
    """
    planned = plan_payouts(count)
    began = time.monotonic()
    say(
        f"{count} payouts, {sum(1 for payout in planned if payout.fault)} of them through"
        f" {len(FAULTS)} faults. The gateway pays again whatever it is sent twice.\nStarting"
        " PostgreSQL, Redis, the stand-in gateway, workers, beat and webhook ..."
    )
    with running(logs, _SETTINGS, _SANDBOX) as services:
        verdict = _watch(services, planned, began, limit)
    print_summary(verdict, time.monotonic() - began)
    if verdict.broken:
        say(f"A guarantee is broken: {counted(len(verdict.broken), 'time')}.")
        return 1
    if verdict.unfinished:
        say(f"{len(verdict.unfinished)} of {count} payouts: not finished in time.")
        return 2
    say(f"All {count} payouts have the right final status. None was paid twice.")
    say("Next: `make dev` keeps the service up for your own app; docs/trying.md shows the way.")
    return 0


def _watch(services: Services, planned: Sequence[Planned], began: float, limit: float) -> Verdict:
    with (
        open_database(services.environment["DATABASE_URL"]) as engine,
        connected(services.environment["REDIS_URL"]) as client,
        redis.Redis.from_url(services.environment["REDIS_URL"]) as broker,
    ):
        client.request(planned)
        finished = _wait(engine, broker, client, len(planned), began, limit)
        rows, ledger = _read_result(engine, services.gateway_url)
        return judge(planned, rows, ledger, client.outcomes, in_time=finished)


def _wait(
    engine: Engine, broker: redis.Redis, client: ClientApp, count: int, began: float, limit: float
) -> bool:
    """Show the payouts until all are finished; False: no progress, or not within the ceiling."""
    state: tuple[Mapping[str, Status], int] | None = None
    progress_at = began
    with Live(console=out, refresh_per_second=4) as live:
        while True:
            now, seen = time.monotonic(), (_rows(engine), len(client.outcomes))
            if seen != state:
                state, progress_at = seen, now
            rows, notified = seen
            live.update(live_table(count, rows, notified, now - began, breaker_line(broker)))
            if notified == count == sum(1 for status in rows.values() if status in FINAL):
                return True
            if now - progress_at > limit or now - began > _LONGEST_SECONDS:
                return False
            client.receive(0.25)


def breaker_line(broker: redis.Redis) -> str:
    """A line about the circuit breaker while it holds payouts; empty while it is closed."""
    text = broker.get(circuit_breaker.KEY)
    state = circuit_breaker.deserialize(text.decode() if isinstance(text, bytes) else None)
    if state is None:
        return ""
    seconds = max(0.0, state.retry_at - time.time())
    return f"circuit breaker open: {state.reason}; next probe in {seconds:.0f} s"


def _rows(engine: Engine) -> dict[str, Status]:
    payout = metadata.tables["payout"]
    with engine.connect() as connection:
        rows = connection.execute(select(payout.c.merchant_order_no, payout.c.status))
        return {row.merchant_order_no: Status(row.status) for row in rows}


def _read_result(engine: Engine, gateway_url: str) -> tuple[dict[str, Status], dict[str, Paid]]:
    """The rows and the gateway's ledger, by order number.

    The ledger is read after the rows, so it is ahead of them. A payout that was stored meanwhile
    may be in the ledger and not in the rows: then both are read again, as after an outage of the
    gateway, which is one of the faults.

    Raises:
        UserError: the gateway did not come back.
    """

    def read() -> tuple[dict[str, Status], dict[str, Paid]] | None:
        rows = _rows(engine)
        try:
            orders = requests.get(f"{gateway_url}/_ledger", timeout=10).json()["orders"]
        except requests.RequestException:
            return None
        ledger = {
            number: Paid(order["creates_received"], order["payments"])
            for number, order in orders.items()
        }
        return (rows, ledger) if _rows(engine).keys() == rows.keys() else None

    try:
        return wait_for(read, _LEDGER_SECONDS, "the gateway's ledger")
    except TimeoutError as error:
        raise UserError(f"{error}: the payments of the gateway are not known") from error
