"""Following a payout by queries and by callbacks over real HTTP, honest and otherwise."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest
import redis
import requests

from devstack.redis import LocalRedis
from devstack.wait import wait_for
from tests.support.service import NOT_FOUND, PROGRAMS, Service

STANDING = "sandbox:pending=600"
"""An order that stays at 19, pending withdrawal."""


@pytest.fixture(scope="module")
def standing(full_service: Service) -> Service:
    """The service with payouts that have not ended, for callbacks to try their luck with."""
    for number in range(5):
        full_service.ask(f"standing-{number}", remark=STANDING)
    for number in range(5):
        full_service.wait_for_status(f"standing-{number}", "pending_withdrawal")
    return full_service


def _kinds(service: Service, order_no: str) -> list[str]:
    return [event.kind for event in service.events(order_no)]


def _wait_for_event(service: Service, order_no: str, kind: str) -> Any:
    def found() -> Any:
        return next((one for one in service.events(order_no) if one.kind == kind), None)

    return wait_for(found, 60, f"{order_no} to have a {kind}")


def _strays(service: Service, order_no: str) -> list[str]:
    rows = service.sql(
        "SELECT kind FROM payout_event WHERE payout_id IS NULL"
        " AND detail->>'merchant_order_no' = %s ORDER BY id",
        order_no,
    )
    return [row.kind for row in rows]


def _untouched(service: Service, order_no: str) -> None:
    row = service.row(order_no)
    assert row.status == "pending_withdrawal"
    assert (str(row.amount), row.currency) == ("10.50", "USD")
    assert row.finished_at is None
    assert row.due_at is not None


def test_callback_never_comes(full_service: Service) -> None:
    """Queries bring the end of a payout whose callback never comes, and of one not answered."""
    full_service.ask("quiet-1", remark="sandbox:no_callback")
    full_service.ask("quiet-2", remark="sandbox:accept_then_close sandbox:no_callback")
    for order_no in ("quiet-1", "quiet-2"):
        full_service.wait_for_status(order_no, "succeeded")
        ledger = full_service.ledger_of(order_no)
        assert (ledger["creates_received"], ledger["payments"]) == (1, 1)
        assert ledger["callbacks_sent"] == 0
        assert ledger["queries"] >= 1
    assert "unknown" in {event.status_after for event in full_service.events("quiet-2")}


def test_never_arrived_is_sent_again(full_service: Service) -> None:
    """A create that EPAY provably does not have is sent again, and paid once."""
    full_service.ask("control-1")  # law 12: EPAY must show an order that it ended
    full_service.wait_for_status("control-1", "succeeded")
    full_service.ask("lost-1", remark="sandbox:drop_before_accepting")
    full_service.wait_for_status("lost-1", "succeeded", timeout=60)
    ledger = full_service.ledger_of("lost-1")
    assert (ledger["creates_received"], ledger["payments"]) == (2, 1)
    assert _kinds(full_service, "lost-1").count("no_such_order") >= 3


def _payouts(service: Service, *arguments: str) -> float:
    """Run the command as a person does; when it returned."""
    command = [PROGRAMS / "payouts", *arguments, "--currency", "EUR", "--name", "Ann"]
    environment = dict(service.environment)
    subprocess.run([*command, "--reason", "audit"], env=environment, check=True, timeout=60)
    return time.time()


def test_a_pause_amid_payouts(full_service: Service) -> None:
    """What it holds waits, what was sent ends; the rest goes on; all paid once after resume.

    The full size is in tests/resilience/chaos/test_pauses_and_breaker.py.
    """

    def euros() -> list[str]:
        logged = full_service.gateway.log.since(0)
        return [no for _, call, no in logged if call.startswith("create") and no in orders]

    orders = [f"euro-{number}" for number in range(30)]
    full_service.ask(orders[0], currency="EUR", remark="sandbox:pending=3 sandbox:no_callback")
    full_service.wait_for_status(orders[0], "pending_withdrawal")
    paused_at = _payouts(full_service, "pause")
    for number, order_no in enumerate(orders[1:]):
        if order_no == orders[15]:
            wait_for(lambda: time.time() - paused_at > 2, 60, "every process to read the pause")
        full_service.ask(order_no, currency="EUR")
        full_service.ask(f"dollar-{number}")
    for number in range(29):
        full_service.wait_for_status(f"dollar-{number}", "succeeded")
    full_service.wait_for_status(orders[0], "succeeded")
    full_service.wait_until_idle()
    assert set(orders[15:]).isdisjoint(euros())
    assert full_service.row(orders[-1]).status == "queued"
    assert len(euros()) < 30
    _payouts(full_service, "resume")
    for order_no in orders:
        full_service.wait_for_status(order_no, "succeeded")
        assert full_service.ledger_of(order_no)["payments"] == 1
    assert len(euros()) == 30


def test_wrong_signature_changes_nothing(standing: Service) -> None:
    """Refused with 403, on record once a minute, asked about sooner, not believed."""
    forged = standing.callback("standing-0") | {"sign": "0" * 64}
    assert standing.post(forged).status_code == 403
    event = _wait_for_event(standing, "standing-0", "callback_unverified")
    assert event.detail["status"] == "7"
    assert standing.post(forged).status_code == 403
    standing.wait_until_idle()
    assert _kinds(standing, "standing-0").count("callback_unverified") == 1
    _untouched(standing, "standing-0")


@pytest.mark.parametrize(
    ("order_no", "changes"),
    [
        ("standing-1", {"amount": "1050.00"}),
        ("standing-2", {"settlementCurrency": "EUR"}),
        ("standing-3", {"epayAccount": "somebody@else"}),
    ],
    ids=["amount", "currency", "account"],
)
def test_signed_but_about_something_else(
    standing: Service, order_no: str, changes: dict[str, str]
) -> None:
    """A good signature under another amount, currency or account: taken, flagged, not believed."""
    answer = standing.post(standing.callback(order_no, **changes))
    assert (answer.status_code, answer.text) == (200, "success")
    event = _wait_for_event(standing, order_no, "callback_report")
    assert "disagrees" in event.detail
    assert standing.row(order_no).review_reason.startswith("mismatch")
    _untouched(standing, order_no)


def test_unknown_order_is_on_record(standing: Service) -> None:
    """A callback for an order that we never made: on record, signed or not, and no payout."""
    answer = standing.post(standing.callback("never-asked"))
    assert (answer.status_code, answer.text) == (200, "success")
    forged = standing.callback("never-asked-either") | {"sign": "A" * 64}
    assert standing.post(forged).status_code == 403
    expected = {"never-asked": "stray_callback", "never-asked-either": "stray_callback_unverified"}
    for order_no, kind in expected.items():
        wait_for(lambda no=order_no: _strays(standing, no), 60, f"a record of {order_no}")
        assert _strays(standing, order_no) == [kind]
        assert standing.row(order_no) is None


def test_malformed_is_refused(standing: Service) -> None:
    """No order number, no signature, a field twice, no form: refused, and nothing is enqueued."""
    good = standing.callback("standing-4")
    unsigned = {name: value for name, value in good.items() if name != "sign"}
    nameless = {name: value for name, value in good.items() if name != "merchantOrderNo"}
    assert standing.post(unsigned).status_code == 400
    assert standing.post(nameless).status_code == 400
    twice = [*good.items(), ("status", "6")]
    assert requests.post(standing.callback_url, data=twice, timeout=60).status_code == 400
    headers = {"Content-Type": "text/xml"}
    answer = requests.post(standing.callback_url, data="<a/>", headers=headers, timeout=60)
    assert answer.status_code == 415
    huge = good | {"remark": "x" * 100_000}
    assert standing.post(huge).status_code in {400, 413}
    standing.wait_until_idle()
    assert not any("callback" in kind for kind in _kinds(standing, "standing-4"))
    _untouched(standing, "standing-4")


def test_true_callbacks_are_believed_whichever_way_they_come(standing: Service) -> None:
    """A rightly signed end counts, by POST, by GET and as JSON; the mismatch flag stays."""
    assert standing.post(standing.callback("standing-1")).text == "success"
    by_get = requests.get(
        standing.callback_url, params=standing.callback("standing-0", status="6"), timeout=60
    )
    assert (by_get.status_code, by_get.text) == (200, "success")
    as_json = requests.post(
        standing.callback_url, json=standing.callback("standing-4", status="8"), timeout=60
    )
    assert (as_json.status_code, as_json.text) == (200, "success")
    assert standing.wait_for_status("standing-1", "succeeded").review_reason.startswith("mismatch")
    standing.wait_for_status("standing-0", "failed")
    standing.wait_for_status("standing-4", "closed")


def test_final_is_final(standing: Service) -> None:
    """A later callback that says otherwise is on record, flagged, and changes no status."""
    standing.ask("final-1")
    standing.wait_for_status("final-1", "succeeded")
    assert standing.post(standing.callback("final-1", status="6")).text == "success"
    wait_for(lambda: standing.row("final-1").review_reason, 60, "final-1 to be flagged")
    row = standing.row("final-1")
    assert (row.status, row.review_reason.partition(":")[0]) == ("succeeded", "contradiction")
    assert standing.ledger_of("final-1")["creates_received"] == 1


def test_webhook_without_redis_makes_epay_come_again(make_service: Any) -> None:
    """With Redis stopped the answer is 503, quickly; with Redis back it is success again."""
    with LocalRedis() as broker:
        alone: Service = make_service({"EPAY_NOT_FOUND_CODES": NOT_FOUND}, redis_url=broker.url)
        alone.start_webhook()
        callback = alone.callback("order-1")
        health = alone.callback_url.replace("epay/callback", "")
        assert alone.post(callback).text == "success"
        broker.stop()
        away = alone.post(callback)
        assert away.status_code == 503
        assert away.text != "success"
        assert away.elapsed.total_seconds() < 15, "two tries of 5 s at the most"
        assert alone.post(callback | {"sign": "0" * 64}).status_code == 503
        assert requests.get(health + "healthz", timeout=60).status_code == 200
        assert requests.get(health + "readyz", timeout=60).status_code == 503
        broker.start()
        again = alone.post(callback)
        assert (again.status_code, again.text) == (200, "success")
        assert requests.get(health + "readyz", timeout=60).status_code == 200
        with redis.Redis.from_url(broker.url) as client:
            assert client.llen("payouts.reconcile") == 2
        alone.processes.stop("webhook")
