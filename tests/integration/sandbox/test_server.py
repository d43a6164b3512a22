"""The server: outages, many connections, exact books, the command."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from pydantic import ValidationError

from sandbox.server import Gateway
from sandbox.settings import Duplicates, SandboxConfig, read_config
from tests.support.sandbox import Merchant, until


def refused(merchant: Merchant) -> bool:
    """Whether the gateway's port refuses connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", merchant.gateway.port)) != 0


def test_refuse_mode_refuses_and_recovers(merchant: Merchant) -> None:
    """While down the port refuses, also an open session; then the same port serves again."""
    merchant.create("A1")
    url = f"{merchant.gateway.root_url}/_faults"
    body = {"down_seconds": 600, "mode": "refuse"}
    assert requests.post(url, json=body, timeout=60).json()["mode"] == "refuse"
    assert refused(merchant)
    with pytest.raises(requests.ConnectionError, match="refused"):
        merchant.create("A2")
    merchant.gateway.clear_faults()
    merchant.gateway.set_faults(down_seconds=0.4, mode="refuse")
    until(lambda: not refused(merchant))
    assert merchant.create("A2")["code"] == 1
    assert merchant.ledger("A2")["creates_received"] == 1


def test_outages_add_up_and_end_early(merchant: Merchant) -> None:
    """A longer outage prolongs a shorter one; clearing the faults ends it at once."""
    merchant.gateway.set_faults(down_seconds=0.05)
    merchant.gateway.set_faults(down_seconds=600)
    assert refused(merchant)
    merchant.gateway.clear_faults()
    assert merchant.create("A1")["code"] == 1


def test_drop_mode(merchant: Merchant) -> None:
    """Calls find their connection closed, while the control paths stay."""
    merchant.gateway.set_faults(down_seconds=600, mode="drop")
    with pytest.raises(requests.ConnectionError):
        merchant.create("A1")
    assert not refused(merchant)
    merchant.session.delete(f"{merchant.gateway.root_url}/_faults", timeout=60)
    assert merchant.create("A1")["code"] == 1
    assert merchant.ledger("A1")["creates_received"] == 1


def test_503_mode(merchant: Merchant) -> None:
    """Calls are answered with HTTP 503 and have no effect."""
    merchant.gateway.set_faults(down_seconds=600, mode="503")
    assert merchant.call("createEwalletTransaction", merchant.param("A1")).status_code == 503
    assert merchant.gateway.ledger()["orders"] == {}
    merchant.gateway.clear_faults()
    assert merchant.create("A1")["code"] == 1


def test_create_takes_the_gateway_down(start: Any) -> None:
    """The fault down: no order, refused for a while, and a later create is accepted."""
    merchant = start(down_seconds=600)
    with pytest.raises(requests.ConnectionError):
        merchant.create("A1", "down")
    assert refused(merchant)
    merchant.gateway.clear_faults()
    with pytest.raises(requests.ConnectionError):
        merchant.create("A2", "down=0.4")
    until(lambda: not refused(merchant))
    for no, fault in (("A1", "down"), ("A2", "down=0.4")):
        assert merchant.query(no)["code"] == 2001
        assert merchant.create(no, fault)["code"] == 1
        assert merchant.ledger(no)["creates_received"] == 2


def test_orders_live_on_while_down(merchant: Merchant) -> None:
    """An order that was accepted before an outage is paid during it."""
    merchant.create("A1")
    merchant.gateway.set_faults(down_seconds=600)
    until(lambda: merchant.gateway.ledger()["totals"]["payments"] == 1)


def test_ledger_is_exact_under_threads(start: Any) -> None:
    """32 threads fight over the same orders: each is accepted once and paid once."""
    merchant = start()
    numbers = [f"A{n % 40}" for n in range(320)]
    codes = _create_all(merchant.gateway, numbers)
    assert (codes.count(1), codes.count(2004)) == (40, 280)
    totals = until(lambda: _totals_when_paid(merchant.gateway, 40))
    assert (totals["creates_received"], totals["creates_accepted"]) == (320, 40)
    assert (totals["paid_orders"], totals["paid_twice"]) == (40, 0)
    orders = merchant.gateway.ledger()["orders"].values()
    assert all(row["creates_received"] == 8 and row["payments"] == 1 for row in orders)


def test_cruel_ledger_is_exact_under_threads(start: Any) -> None:
    """In the cruel mode every create of every thread is a payment, and the books show all."""
    merchant = start(duplicates="pay")
    assert set(_create_all(merchant.gateway, [f"A{n % 40}" for n in range(320)])) == {1}
    totals = until(lambda: _totals_when_paid(merchant.gateway, 320))
    assert (totals["paid_orders"], totals["paid_twice"]) == (40, 40)


def test_many_held_connections(start: Any) -> None:
    """A hundred connections held in silence hinder neither others nor the gateway's stop."""
    merchant = start(silence_seconds=600)
    gateway = merchant.gateway
    with ThreadPoolExecutor(100) as pool:
        held = [pool.submit(_silenced, gateway, f"S{n}") for n in range(100)]
        until(lambda: gateway.ledger()["totals"]["creates_accepted"] == 100)
        assert merchant.create("A1")["code"] == 1
        gateway.stop()
        assert {future.result() for future in held} == {"lost"}


def test_keep_alive_is_quick(merchant: Merchant) -> None:
    """One connection serves many calls, without the 40 ms of a delayed acknowledgement."""
    times = []
    for n in range(50):
        began = time.monotonic()
        merchant.create(f"A{n}")
        times.append(time.monotonic() - began)
    assert min(times[25:]) < 0.03, "the first ones are acknowledged at once by any server"
    assert merchant.gateway._http.connection_count == 1


def test_options_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options go before SANDBOX_ variables, those before EPAY_ variables, those before defaults."""
    monkeypatch.setenv("EPAY_ACCOUNT", "shop@epay.com")
    monkeypatch.setenv("EPAY_API_KEY", "k1")
    monkeypatch.setenv("SANDBOX_API_KEY", "k2")
    monkeypatch.setenv("SANDBOX_PAY_AFTER", "2")
    config = read_config(["--pay-after", "3", "--duplicates", "pay", "--not-found-code", "9"])
    assert (config.account, config.api_key, config.pay_after) == ("shop@epay.com", "k2", 3.0)
    assert (config.duplicates, config.not_found_code) == (Duplicates.PAY, 9)
    with pytest.raises(ValidationError, match="duplicates"):
        read_config(["--duplicates", "sometimes"])


def test_taken_port_is_an_error(merchant: Merchant) -> None:
    """Starting on a port that is taken raises OSError."""
    second = Gateway(SandboxConfig(port=merchant.gateway.port))
    with pytest.raises(OSError, match="in use"):
        second.start()
    second.stop()


def test_command_serves_and_stops_on_sigterm() -> None:
    """The command prints its address, serves, and ends cleanly on SIGTERM."""
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--account", "shop@epay.com"]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(
                r"sandbox gateway at (http://127\.0\.0\.1:\d+)/capi/openapi\n", line
            )
            assert found, line
            ledger = requests.get(f"{found[1]}/_ledger", timeout=60).json()
            assert ledger["totals"]["creates_received"] == 0
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def _create_all(gateway: Gateway, numbers: list[str]) -> list[int]:
    def create(part: list[str]) -> list[int]:
        with requests.Session() as session:
            merchant = Merchant(gateway, session, timeout=30)
            return [merchant.create(no)["code"] for no in part]

    with ThreadPoolExecutor(32) as pool:
        parts = pool.map(create, [numbers[n::32] for n in range(32)])
        return [code for part in parts for code in part]


def _totals_when_paid(gateway: Gateway, payments: int) -> dict[str, int] | None:
    totals: dict[str, int] = gateway.ledger()["totals"]
    return totals if totals["payments"] == payments else None


def _silenced(gateway: Gateway, no: str) -> str:
    with requests.Session() as session:
        try:
            Merchant(gateway, session, timeout=30).create(no, "accept_then_silence")
        except requests.ConnectionError:
            return "lost"
    return "answered"
