"""Asking for payouts with celery alone, and hearing the answer in a celery worker of one's own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis

from devstack.wait import wait_for
from tests.support.factories import request_kwargs
from tests.support.service import (
    ACCOUNT,
    OUTCOME_QUEUE,
    OUTCOME_TASK,
    PROGRAMS,
    START_SECONDS,
    Service,
    bare_environment,
    send,
)

TOLD = {
    "merchant_order_no",
    "epay_account",
    "status",
    "previous_status",
    "epay_order_no",
    "amount",
    "currency",
    "fee",
    "occurred_at",
    "sequence",
}
"""The kwargs of the message to `notify.task` (docs/producers.md)."""

NOTIFY = {"task": OUTCOME_TASK, "queue": OUTCOME_QUEUE}
NOTIFY_BOTH = NOTIFY | {"on": ["accepted", "final"]}

SHOP = """
import json, os
from celery import Celery

app = Celery("shop", broker=os.environ["BROKER"])

@app.task(name="shop.payout_outcome")
def payout_outcome(**outcome):
    with open(os.environ["TOLD"], "a") as told:
        told.write(json.dumps(outcome) + "\\n")
"""
"""The whole of the requesting app's other half."""


class Shop:
    """A celery worker of the requesting app, which writes down what it is told."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._told = folder / "told.jsonl"
        self._told.touch()
        (folder / "shop.py").write_text(SHOP)
        log = service.logs / "shop.log"
        service.processes.start(
            "shop",
            [
                *(str(PROGRAMS / "celery"), "-A", "shop", "--workdir", str(folder), "worker"),
                *("-Q", OUTCOME_QUEUE, "-P", "solo", "-l", "INFO", "-n", "shop@%h"),
            ],
            env=bare_environment() | {"BROKER": service.redis_url, "TOLD": str(self._told)},
            log_path=log,
        )
        wait_for(lambda: " ready." in log.read_text(), START_SECONDS, "the shop's worker")

    def told(self, order_no: str) -> list[dict[str, Any]]:
        """What it was told about an order, in the order of arrival."""
        lines = [json.loads(line) for line in self._told.read_text().splitlines()]
        return [line for line in lines if line["merchant_order_no"] == order_no]

    def wait_for(self, order_no: str, count: int) -> list[dict[str, Any]]:
        """What it was told about an order, once it is so much."""

        def enough() -> list[dict[str, Any]] | None:
            told = self.told(order_no)
            return told if len(told) >= count else None

        return wait_for(enough, 60, f"the shop to be told {count} time(s) of {order_no}")


@pytest.fixture(scope="module", params=["on", "off"])
def broker_atomic_fetch(request: pytest.FixtureRequest) -> str:
    """Every test of this file runs on our transport and on kombu's own."""
    return str(request.param)


@pytest.fixture(scope="module")
def shop(full_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    yield Shop(full_service, tmp_path_factory.mktemp("shop"))
    full_service.processes.stop("shop")


def received(service: Service, message_id: str) -> int:
    """How often a worker took that message from the broker."""
    return service.log("worker1").count(f"payouts.request[{message_id}] succeeded")


def test_an_app_imports_nothing_of_ours() -> None:
    """What the requesting app runs is celery and the standard library."""
    imported = {line.split()[1] for line in SHOP.splitlines() if "import" in line.split()}
    assert {name.strip(",") for name in imported} <= {"celery"} | sys.stdlib_module_names


def test_payout_is_paid_and_told(full_service: Service, shop: Shop) -> None:
    """One message in, one payment at the gateway, one outcome with the documented kwargs."""
    full_service.ask("paid-1", notify=NOTIFY)
    (outcome,) = shop.wait_for("paid-1", 1)
    ledger = full_service.ledger_of("paid-1")
    assert (ledger["creates_received"], ledger["payments"]) == (1, 1)
    assert (ledger["amount"], ledger["currency"]) == ("10.50", "USD")
    assert set(outcome) == TOLD
    row = full_service.row("paid-1")
    assert outcome["status"] == row.status == "succeeded"
    assert outcome["previous_status"] in {"submitting", "processing"}
    assert outcome["epay_account"] == ACCOUNT
    assert outcome["epay_order_no"] == row.epay_order_no
    assert outcome["epay_order_no"].isdecimal()
    assert (outcome["amount"], outcome["currency"]) == ("10.50", "USD")
    assert Decimal(outcome["fee"]) == Decimal("0.10")
    assert datetime.fromisoformat(outcome["occurred_at"]) == row.finished_at
    assert outcome["sequence"] == row.sequence


ENDS = {
    "sandbox:fail": "failed",
    "sandbox:refuse": "rejected",
    "sandbox:cancelled": "cancelled",
    "sandbox:closed": "closed",
    "sandbox:fee_kept": "failed_fee_kept",
}


def test_every_other_end_is_told(full_service: Service, shop: Shop) -> None:
    """An end that is no payment is told as what it is, and nothing is paid."""
    for remark, status in ENDS.items():
        full_service.ask(f"end-{status}", notify=NOTIFY, remark=remark)
    for status in ENDS.values():
        (outcome,) = shop.wait_for(f"end-{status}", 1)
        assert outcome["status"] == status
        assert full_service.ledger_of(f"end-{status}")["payments"] == 0


def test_receipt_comes_before_the_end(full_service: Service, shop: Shop) -> None:
    """Who wants a receipt gets one, and then the end, in the order of sequence."""
    full_service.ask("receipt-1", notify=NOTIFY_BOTH)
    receipt, end = shop.wait_for("receipt-1", 2)
    assert (receipt["status"], receipt["previous_status"]) == ("submitting", None)
    assert end["status"] == "succeeded"
    assert receipt["sequence"] < end["sequence"]
    assert set(receipt) == TOLD


def test_nobody_is_told_who_did_not_ask(full_service: Service) -> None:
    """Without `notify` the payout is paid and nothing waits to be told."""
    full_service.ask("silent-1")
    full_service.wait_for_status("silent-1", "succeeded")
    written = full_service.sql(
        "SELECT 1 FROM payout_outbox o JOIN payout p ON p.id = o.payout_id"
        " WHERE p.merchant_order_no = 'silent-1'"
    )
    assert written == []


def test_same_message_five_times_at_once_and_again(full_service: Service, shop: Shop) -> None:
    """The same request over and over is one create, one row; each time it is answered."""
    for _ in range(5):
        full_service.ask("again-1", notify=NOTIFY_BOTH)
    told = shop.wait_for("again-1", 6)  # five receipts and the end
    final = full_service.wait_for_status("again-1", "succeeded")
    assert sum(outcome["status"] == "succeeded" for outcome in told) >= 1
    full_service.ask("again-1", notify=NOTIFY_BOTH)
    told = shop.wait_for("again-1", 7)
    full_service.wait_until_idle()
    assert len(shop.told("again-1")) == 7
    assert told[-1]["status"] == "succeeded"
    assert told[-1]["sequence"] == final.sequence
    ledger = full_service.ledger_of("again-1")
    assert (ledger["creates_received"], ledger["payments"]) == (1, 1)
    assert full_service.row("again-1").attempts == 1


OTHERWISE = {"amount": "10.51", "currency": "EUR", "account_no": "U1", "remark": "another"}


def test_same_number_for_something_else_is_a_conflict(full_service: Service, shop: Shop) -> None:
    """The app is told which field differs, it is on record, and nothing is sent."""
    for name in OTHERWISE:
        full_service.ask(f"conflict-{name}")
    for name, value in OTHERWISE.items():
        full_service.wait_for_status(f"conflict-{name}", "succeeded")
        full_service.ask(f"conflict-{name}", notify=NOTIFY, **{name: value})
    for name in OTHERWISE:
        order_no = f"conflict-{name}"
        (outcome,) = shop.wait_for(order_no, 1)
        assert set(outcome) == TOLD | {"error", "stands"}
        assert (outcome["status"], outcome["sequence"]) == ("conflict", None)
        assert outcome["stands"]["status"] == "succeeded"
        assert outcome["error"]["field"] == name
        assert full_service.events(order_no)[-1].kind == "conflict"
        assert full_service.ledger_of(order_no)["creates_received"] == 1
        row = full_service.row(order_no)
        assert (row.status, str(row.amount), row.account_no) == (
            "succeeded",
            "10.50",
            "U1234567890",
        )


INVALID: dict[str, dict[str, Any]] = {
    "amount-float": {"amount": 10.5},
    "amount-negative": {"amount": "-1"},
    "amount-zero": {"amount": "0.00"},
    "amount-too-fine": {"amount": "1.001"},
    "amount-exponent": {"amount": "1e3"},
    "amount-nan": {"amount": "NaN"},
    "amount-huge": {"amount": "9" * 30},
    "amount-missing": {"amount": None},
    "misspelt": {"notfy": {}},
    "line-break": {"account_no": "U1\nU2"},
    "nul": {"account_no": "U1\x00"},
    "other-account": {"epay_account": "somebody@else"},
    "extend-fields": {"extend_fields": {"a": {"b": "c"}}},
    "name-nul": {"\x00": "1"},
    "name-surrogate": {"a\ud800": "1"},
    "name-nul-within": {"extend_fields": {"\x00": "1"}},
    "name-surrogate-within": {"extend_fields": {"\ud800": "1"}},
    "value-surrogate": {"remark": "\ud800"},
}
"""By order number; the last five cannot be stored by PostgreSQL."""


def test_invalid_request_is_told_and_does_not_come_again(full_service: Service, shop: Shop) -> None:
    """What cannot be a payout is answered once, stored nowhere, and off the queue for good."""
    ids = {
        full_service.ask(order_no, notify=NOTIFY, **changes)
        for order_no, changes in INVALID.items()
    }
    full_service.ask("behind-the-invalid", notify=NOTIFY)
    shop.wait_for("behind-the-invalid", 1)
    full_service.wait_until_idle()
    told = {order_no: shop.told(order_no) for order_no in INVALID}
    statuses = {no: [one["status"] for one in told[no]] for no in INVALID}
    assert statuses == {no: ["invalid"] for no in INVALID}
    for order_no, (outcome,) in told.items():
        assert set(outcome) == TOLD | {"error"}
        assert set(outcome["error"]) == {"code", "field", "message"}
        assert full_service.row(order_no) is None
        assert full_service.ledger_of(order_no)["creates_received"] == 0
    assert [received(full_service, one) for one in ids] == [1] * len(INVALID)


def test_request_that_names_nobody_to_tell_is_dropped(full_service: Service) -> None:
    """Kwargs without an address, or none at all: nobody is told, a row says who sent what."""
    before = len(full_service.sql("SELECT FROM payout_refused"))
    ids = [
        send(full_service.client_app, {}),
        send(full_service.client_app, {"merchant_order_no": None}),
        send(
            full_service.client_app,
            request_kwargs("bad-notify") | {"notify": {"task": "a b", "queue": "shop"}},
        ),
        full_service.client_app.send_task("payouts.request", args=["order-1"], queue="payouts").id,
    ]
    wait_for(lambda: all(received(full_service, one) for one in ids), 60, "all to be received")
    full_service.wait_until_idle()
    assert [received(full_service, one) for one in ids] == [1] * 4
    assert full_service.row("bad-notify") is None
    refused = full_service.sql("SELECT * FROM payout_refused ORDER BY id")[before:]
    assert len(refused) == 4
    assert "bad-notify" in {row.merchant_order_no for row in refused}
    assert all(f"{os.getpid()}@" in row.source for row in refused)


def test_no_result_is_kept(full_service: Service) -> None:
    """Without CELERY_RESULT_BACKEND the broker holds no results."""
    with redis.Redis.from_url(full_service.redis_url) as client:
        assert list(client.scan_iter("celery-task-meta-*")) == []
