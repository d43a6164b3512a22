"""The service for people who try their own app against it: up until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from ops.console import say
from ops.demo.services import Services, running

_SHOWN = (
    "DATABASE_URL",
    "REDIS_URL",
    "EPAY_BASE_URL",
    "EPAY_ACCOUNT",
    "EPAY_API_KEY",
    "EPAY_NOTIFY_URL",
)
_SETTINGS = {
    "EPAY_NOT_FOUND_CODES": "2001",
    "EPAY_REFUSED_CODES": "2005",
    "EPAY_SETTLE_SECONDS": "60",
    "EPAY_QUERY_BACKOFF": "10,20,30,60",
}
"""The stand-in gateway's own codes, and times for people who look on. Yours go before these.

The settle time is above the stand-in's fault `hidden` (20 s), as a real one must be above EPAY's.
"""

_EXAMPLE = "--amount 10.50 --currency USD --channel 11 --account-no U1234567"


def run(logs: Path, data: Path | None) -> None:
    """Start everything, say where it is, wait for Ctrl-C or SIGTERM, stop everything."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    say("Starting; this takes some seconds ...")
    with running(logs, settings_of(os.environ), {}, data) as services:
        _tell(services)
        while not stop.wait(1):
            for name, code in services.processes.poll().items():
                say(f"{name} ended with code {code}; its log: {services.logs / name}.log")
                stop.set()
        say("Stopping ...")


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """What the service runs with beside its addresses: what was given goes before what is ours."""
    return {name: environment.get(name, ours) for name, ours in _SETTINGS.items()}


def _tell(services: Services) -> None:
    say("Everything runs. For your app and for `payouts`, paste this into another terminal:\n")
    for name in (*_SHOWN, *_SETTINGS):
        say(f"export {name}={shlex.quote(services.environment[name])}")
    say("\nThen for example:")
    say(f"  payouts enqueue order-1 {_EXAMPLE}")
    say("  payouts show order-1")
    say("One that gets stuck (all faults to order: docs/trying.md):")
    say(f"  payouts enqueue order-2 {_EXAMPLE} --remark sandbox:drop_before_accepting")
    say("  payouts list --status unknown")
    say(f"What the gateway really paid: {services.gateway_url}/_ledger")
    say(f"Logs: {services.logs}\nCtrl-C stops everything.")
