"""The service for people who try their own app against it: up until Ctrl-C."""

from __future__ import annotations

import signal
import threading
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
_SETTINGS = {"EPAY_NOT_FOUND_CODES": "2001", "EPAY_REFUSED_CODES": "2005"}


def run(logs: Path, data: Path | None) -> None:
    """Start everything, say where it is, wait for Ctrl-C or SIGTERM, stop everything."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    say("Starting; this takes some seconds ...")
    with running(logs, _SETTINGS, {}, data) as services:
        _tell(services)
        while not stop.wait(1):
            for name, code in services.processes.poll().items():
                say(f"{name} ended with code {code}; its log: {services.logs / name}.log")
                stop.set()
        say("Stopping ...")


def _tell(services: Services) -> None:
    say("Everything runs. For your app and for `payouts` in another terminal:\n")
    for name in _SHOWN:
        say(f"export {name}='{services.environment[name]}'")
    say("\nThen for example:")
    say(
        "  payouts enqueue order-1 --amount 10.50 --currency USD --channel 11 --account-no U1234567"
    )
    say("  payouts show order-1")
    say(f"What the gateway really paid: {services.gateway_url}/_ledger")
    say(f"Logs: {services.logs}\nCtrl-C stops everything.")
