"""The run of the demo: ask, watch, judge."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
from rich.live import Live
from sqlalchemy import Engine, select

from devstack.wait import wait_for
from ops.console import out, say
from ops.demo.client_app import ClientApp
from ops.demo.display import live_table, summary
from ops.demo.scenario import NOT_FOUND_CODE, REFUSED_CODE, Planned, plan_payouts
from ops.demo.services import Services, running
from ops.demo.verify import Paid, Verdict, judge
from ops.errors import UserError
from shared.domain.payout import Status
from shared.domain.transitions import FINAL
from shared.storage.engine import make_engine
from shared.storage.tables import metadata

_SETTINGS = {
    "EPAY_NOT_FOUND_CODES": NOT_FOUND_CODE,
    "EPAY_REFUSED_CODES": REFUSED_CODE,
    "EPAY_CONNECT_TIMEOUT": "1",
    "EPAY_READ_TIMEOUT": "2",
    "EPAY_LEASE_SECONDS": "6",
    "EPAY_SETTLE_SECONDS": "5",
    "EPAY_QUERY_BACKOFF": "2,2,3",
    "EPAY_SUBMIT_BACKOFF": "1,2",
    "BREAKER_FAILURES": "1000",
    "SWEEP_SECONDS": "1",
}
"""Days in seconds: the demo's settings are the service's, with shorter pauses.

Two of three payouts meet a fault, which to the breaker looks like an outage: it stays out of it.
"""

_LEDGER_SECONDS = 30.0
"""For a gateway that is away at the end to come back: its outages last 2 s each."""

_SANDBOX = {
    "SANDBOX_DUPLICATES": "pay",
    "SANDBOX_CALLBACK_SCALE": "0.05",
    "SANDBOX_SILENCE_SECONDS": "8",
    "SANDBOX_LATE_CALLBACK_SECONDS": "10",
}
"""The gateway pays a second create of the same order again: only our own care prevents it."""


def run(logs: Path, *, count: int, limit: float) -> int:
    """Run the demo.

    Args:
        logs: the folder for the logs of all processes.
        count: how many payouts.
        limit: seconds to wait for the last payout.

    Returns:
        The exit code: 0 when every payout came to its one true end, 1 when a law was broken, 2
        when none was and some payouts were not finished in time.

    Raises:
        UserError: the gateway was away at the end and did not come back.
    """
    planned = plan_payouts(count)
    began = time.monotonic()
    say("Starting PostgreSQL, Redis, the stand-in gateway, workers, beat and webhook ...")
    with running(logs, _SETTINGS, _SANDBOX) as services:
        verdict = _watch(services, planned, began, limit)
    out.print()
    out.print(summary(verdict, time.monotonic() - began))
    for fault in verdict.broken:
        say(f"BROKEN: {fault}")
    for missing in verdict.unfinished:
        say(f"not finished in time: {missing}")
    if verdict.broken:
        return 1
    if verdict.unfinished:
        say(f"{len(verdict.unfinished)} of {verdict.asked} payouts: not finished in time.")
        return 2
    say(f"All {verdict.asked} payouts came to their one true end.")
    return 0


def _watch(services: Services, planned: Sequence[Planned], began: float, limit: float) -> Verdict:
    engine = make_engine(services.database_url, pool_size=1)
    asker = ClientApp(services.redis_url)
    asker.start()
    faults = sum(1 for payout in planned if payout.fault)
    note = f"{faults} of them through a fault; the gateway pays whatever is sent twice"
    try:
        asker.ask(planned)
        with Live(console=out, refresh_per_second=4) as live:
            while True:
                rows = _rows(engine)
                seconds = time.monotonic() - began
                live.update(live_table(len(planned), rows, len(asker.told), seconds, note))
                if _settled(planned, rows, asker) or seconds > limit:
                    break
                time.sleep(0.25)
        in_time = _settled(planned, rows, asker)
        told, rows, ledger = _last_look(engine, services.gateway_url, asker)
        return judge(planned, rows, ledger, told, in_time=in_time)
    finally:
        asker.stop()
        engine.dispose()


def _settled(planned: Sequence[Planned], rows: Mapping[str, Status], asker: ClientApp) -> bool:
    ended = sum(1 for status in rows.values() if status in FINAL)
    return ended == len(planned) and len(asker.told) == len(planned)


def _rows(engine: Engine) -> dict[str, Status]:
    payout = metadata.tables["payout"]
    with engine.connect() as connection:
        rows = connection.execute(select(payout.c.merchant_order_no, payout.c.status))
        return {row.merchant_order_no: Status(row.status) for row in rows}


def _last_look(
    engine: Engine, gateway_url: str, asker: ClientApp
) -> tuple[dict[str, list[str]], dict[str, Status], dict[str, Paid]]:
    """What was told, the rows and the ledger, read in this order: each is ahead of the one before.

    The gateway may be away for a moment: one of the demo's own faults. A payout that came on record
    meanwhile may be in the ledger and not in the rows: all is read again.

    Raises:
        UserError: the gateway did not come back.
    """

    def look() -> tuple[dict[str, list[str]], dict[str, Status], dict[str, Paid]] | None:
        told, rows = dict(asker.told), _rows(engine)
        try:
            ledger = _ledger(gateway_url)
        except requests.RequestException:
            return None
        return (told, rows, ledger) if _rows(engine).keys() == rows.keys() else None

    try:
        return wait_for(look, _LEDGER_SECONDS, "the gateway's ledger")
    except TimeoutError as error:
        raise UserError(f"{error}: what the gateway paid is not known") from error


def _ledger(gateway_url: str) -> dict[str, Paid]:
    orders = requests.get(f"{gateway_url}/_ledger", timeout=10).json()["orders"]
    return {
        number: Paid(order["creates_received"], order["payments"])
        for number, order in orders.items()
    }
