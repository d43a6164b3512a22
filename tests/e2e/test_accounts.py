"""Law 10 with real processes and gateways that pay whatever they are sent."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devstack.wait import wait_for
from sandbox.server import Gateway
from sandbox.settings import Duplicates, SandboxConfig
from tests.support.service import ACCOUNT, API_KEY, PROGRAMS, Service

LOST = "sandbox:accept_then_close sandbox:no_callback"
"""The gateway has it and pays it; nobody here knows."""
LONG = 8.0
"""Four settle times, and as many rounds of queries and sends: in production, 40 minutes."""
OLD = ("sent", "queued-0", "queued-1")

StartGateway = Callable[..., Gateway]


@pytest.fixture
def start_gateway() -> Iterator[StartGateway]:
    """Start another gateway that pays whatever it is sent."""
    with ExitStack() as stack:

        def start(**config: Any) -> Gateway:
            made = SandboxConfig(duplicates=Duplicates.PAY, pay_after=0.2, **config)
            return stack.enter_context(Gateway(made))

        yield start


@pytest.fixture
def running(make_service: Callable[..., Service], tmp_path: Path) -> Iterator[Service]:
    """A service that has sent a payout and not heard of it, and has two in its queue."""
    service = make_service({"EPAY_SUBMIT_BACKOFF": "1", "EPAY_QUERY_BACKOFF": "1"})
    worker = service.start_worker(queues=("payouts",))
    service.ask("sent", remark=LOST)
    service.ask("done", remark="sandbox:no_callback")
    service.wait_for_status("sent", "unknown")
    service.processes.stop(worker)
    put_queued(service, tmp_path, "queued-0", "queued-1")
    service.start_beat()
    yield service
    service.processes.terminate_all()


def command(service: Service, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run a `payouts` command; its exit code and what it printed."""
    done = subprocess.run(
        [PROGRAMS / "payouts", *arguments],
        env=dict(service.environment) | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def put_queued(service: Service, folder: Path, *orders: str, **settings: str) -> str:
    """Request these payouts by a batch; what the command printed."""
    rows = [f"{order},10.50,USD,11,U1234567890" for order in orders]
    file = folder / "may.csv"
    file.write_text("\n".join(["merchant_order_no,amount,currency,channel_code,account_no", *rows]))
    code, printed = command(service, "batch", str(file), "--confirm", **settings)
    assert code == 0, printed
    return printed


def configured(service: Service, **settings: str) -> str:
    """Start a worker with other settings; its name."""
    service.environment = dict(service.environment) | settings
    return service.start_worker()


def wait_for_flags(service: Service, *orders: str) -> None:
    def flagged() -> bool:
        rows = [service.row(order) for order in orders]
        return all((row.review_reason or "").startswith("account_not_configured") for row in rows)

    wait_for(flagged, 60, "every old payout to wait for its account")


def all_stand_still(service: Service, worker: str) -> None:
    """For a long time nothing is sent or judged, and a person is told why."""
    wait_for_flags(service, *OLD)
    until = time.monotonic() + LONG
    wait_for(lambda: time.monotonic() > until, 60, "a long time to pass")
    assert [service.row(order).status for order in OLD] == ["unknown", "queued", "queued"]
    assert "account_not_configured" in service.log(worker)
    code, printed = command(service, "doctor")
    assert code == 1
    assert "FAIL accounts: " in printed
    assert "is not configured here. Configure that account and gateway" in printed
    act = ("resolve", "sent", "reject", "--yes", "--name", "Ann", "--reason", "r")
    code, printed = command(service, *act)
    assert code != 0
    assert "is not configured here" in printed
    service.processes.stop(worker)


def heard_of(gateway: Gateway) -> set[str]:
    """The payouts that a gateway was sent or asked about, but for the made-up order of doctor."""
    return {one for one in gateway.ledger()["orders"] if not one.startswith("payouts-doctor-")}


def all_end_once(service: Service, **settings: str) -> None:
    """With their account configured again they end by themselves, each paid once."""
    configured(service, **settings)
    for order in (*OLD, "done"):
        row = service.wait_for_status(order, "succeeded")
        assert row.review_reason is None
        assert service.ledger_of(order)["payments"] == 1


def test_the_account_changes(running: Service, start_gateway: StartGateway, tmp_path: Path) -> None:
    """Between sending and asking, and while payouts are queued: the same gateway, another account.

    The other account's ledger knows none of them, and would pay each a second time.
    """
    ours = running.environment["EPAY_BASE_URL"]
    other = start_gateway(account="other@epay.com", api_key="OTHERKEY")
    worker = configured(
        running,
        EPAY_ACCOUNT="other@epay.com",
        EPAY_API_KEY="OTHERKEY",
        EPAY_BASE_URL=other.base_url,
        EPAY_FORMER_HOSTS=f"127.0.0.1:{running.gateway.port}",
    )
    running.ask("sent", remark=LOST)
    assert "already there" in put_queued(running, tmp_path, "queued-0", "queued-1")
    all_stand_still(running, worker)
    assert heard_of(other) == set()
    all_end_once(
        running,
        EPAY_ACCOUNT=ACCOUNT,
        EPAY_API_KEY=API_KEY,
        EPAY_BASE_URL=ours,
        EPAY_FORMER_HOSTS="",
    )


@pytest.mark.parametrize("account", [ACCOUNT, "real@epay.com"], ids=["host", "trial volume"])
def test_the_gateway_changes(running: Service, start_gateway: StartGateway, account: str) -> None:
    """The base URL of another host; and a sandbox's database with the .env of real money.

    What was requested before waits; new payouts go to the new gateway; what the old one has paid is
    no answer to a request for the new one.
    """
    ours = running.environment["EPAY_BASE_URL"]
    other = start_gateway(account=account, api_key="REALKEY")
    worker = configured(
        running, EPAY_ACCOUNT=account, EPAY_API_KEY="REALKEY", EPAY_BASE_URL=other.base_url
    )
    running.ask("new", remark="sandbox:no_callback")
    running.ask("done", remark="sandbox:no_callback")
    running.ask("queued-0")
    running.wait_for_status("new", "succeeded")
    for order in ("done", "queued-0"):

        def refused(order: str = order) -> Any:
            return [one.detail for one in running.events(order) if one.kind == "conflict"]

        assert "epay_gateway" in wait_for(refused, 60, "the conflict")[0]["differing"]
    all_stand_still(running, worker)
    assert heard_of(other) == {"new"}
    assert other.ledger()["orders"]["new"]["payments"] == 1
    all_end_once(running, EPAY_ACCOUNT=ACCOUNT, EPAY_API_KEY=API_KEY, EPAY_BASE_URL=ours)
    assert "new" not in running.gateway.ledger()["orders"]


def test_the_spelling_of_the_account_is_mended(running: Service, tmp_path: Path) -> None:
    """Between two runs of a batch: the second finds every payout there."""
    orders = ("may-0", "may-1", "may-2")
    put_queued(running, tmp_path, *orders, EPAY_ACCOUNT="Test2020@EPAY.com")
    configured(running)
    printed = put_queued(running, tmp_path, *orders)
    assert "already there" in printed
    for order in (*orders, *OLD):
        running.wait_for_status(order, "succeeded")
        assert running.ledger_of(order)["payments"] == 1


def test_two_accounts_side_by_side(
    running: Service, start_gateway: StartGateway, tmp_path: Path
) -> None:
    """EPAY_ACCOUNTS_FILE: a payout goes to the account that its request names, and no other."""
    second = start_gateway(account="second@epay.com", api_key="SECONDKEY", callback_scale=0.02)
    file = tmp_path / "accounts.toml"
    file.write_text(f"""
[[account]]
account = "{ACCOUNT}"
api_key = "{API_KEY}"

[[account]]
account = "second@epay.com"
base_url = "{second.base_url}"
api_key = "SECONDKEY"
""")
    kept = {name: value for name, value in running.environment.items() if "API_KEY" not in name}
    running.environment = kept | {"EPAY_ACCOUNTS_FILE": str(file)}
    running.start_webhook()
    running.start_worker()
    running.ask("both", epay_account=ACCOUNT)
    running.ask("second", epay_account="Second@epay.com", remark="sandbox:pending=600")
    running.ask("second-queried", epay_account="second@epay.com", remark=LOST)
    running.wait_for_status("second", "pending_withdrawal")
    second.report("second", "7")
    for order in ("both", "second", "second-queried", *OLD):
        running.wait_for_status(order, "succeeded")
    kinds = [event.kind for event in running.events("second")]
    assert "callback_report" in kinds, "verified by the key of the account that it names"
    assert heard_of(second) == {"second", "second-queried"}
    assert heard_of(running.gateway) == {"both", "done", *OLD}
    code, printed = command(running, "doctor")
    assert "gateway of second@epay.com: answers" in printed, (code, printed)
    printed = command(running, "show", "second-queried", "--refresh")[1]
    assert "status 7 (succeeded)" in printed
