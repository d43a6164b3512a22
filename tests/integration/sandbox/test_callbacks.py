"""Callbacks: fields, signature, retries, and the faults that strike them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from sandbox.callbacks import RETRY_SECONDS
from sandbox.scheduler import Scheduler
from tests.support.sandbox import Merchant, Receiver, signed_rightly, until

FIELDS = {
    "epayAccount", "merchantOrderNo", "epayOrderNo", "pinCode", "amount", "paymentAmount",
    "paymentCurrency", "receiveAmount", "receiveCurrency", "settlementCurrency", "fee", "rate",
    "status", "remark", "extendFields", "sign",
}  # fmt: skip


def test_callback_fields(merchant: Merchant, receiver: Receiver) -> None:
    """A paid order is called back once, as a signed form with the fields of section 5."""
    param = merchant.param("A1", notify_url=receiver.url, extendFields={"shop": "7"})
    created = merchant.call("createEwalletTransaction", param).json()["data"]
    until(lambda: merchant.ledger("A1")["callbacks_acknowledged"])
    [fields] = receiver.of("A1")
    assert set(fields) == FIELDS
    assert signed_rightly(fields)
    assert not signed_rightly(fields | {"status": "6"})
    assert fields["epayOrderNo"] == created["epayOrderNo"]
    assert (fields["status"], fields["amount"], fields["settlementCurrency"]) == (
        "7",
        "10.00",
        "USD",
    )
    assert fields["extendFields"] == '{"shop":"7"}'
    assert receiver.content_types == {"application/x-www-form-urlencoded"}
    assert merchant.ledger("A1")["callbacks_sent"] == 1


@pytest.mark.parametrize("fault", ["fail", "cancelled", "closed", "fee_kept", "pending"])
def test_every_end_is_called_back(merchant: Merchant, receiver: Receiver, fault: str) -> None:
    """Each final status is called back, status 19 on the way is not."""
    merchant.create("A1", fault, receiver.url)
    until(lambda: receiver.statuses("A1"))
    assert receiver.statuses("A1") == [merchant.status("A1")]


def test_retry_schedule(start: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback is retried on EPAY's schedule, scaled, until the reply is `success`."""
    scale, waits, after = 0.01, [], Scheduler.after

    def noted(self: Scheduler, seconds: float, action: Callable[[], object]) -> None:
        waits.append(seconds)
        after(self, seconds, action)

    monkeypatch.setattr(Scheduler, "after", noted)
    merchant = start(callback_scale=scale)
    receiver.replies = [(500, "success"), (200, "fail"), (200, "SUCCESS"), (200, "  success\n")]
    merchant.create("A1", notify_url=receiver.url)
    until(lambda: merchant.ledger("A1")["callbacks_acknowledged"])
    times = [moment for moment, _ in receiver.received]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert len(gaps) == 3
    for gap, documented in zip(gaps, (10, 30, 60), strict=True):
        assert documented * scale <= gap + 0.01
    assert waits[-3:] == [documented * scale for documented in (10, 30, 60)]
    assert merchant.ledger("A1")["callbacks_sent"] == 4


def test_sixteen_retries_and_no_more(start: Any, receiver: Receiver) -> None:
    """After the first attempt and 16 retries the gateway gives up."""
    assert len(RETRY_SECONDS) == 16
    assert sum(RETRY_SECONDS) == 4 * 3600 + 45 * 60 + 40
    merchant = start(callback_scale=0.00001)
    receiver.replies = [(200, "fail")] * 100
    merchant.create("A1", notify_url=receiver.url)
    until(lambda: merchant.ledger("A1")["callbacks_sent"] == 17)
    # A later order's callback passes the queue of timed things after any 18th attempt would have.
    merchant.create("A2", notify_url=receiver.url)
    until(lambda: merchant.ledger("A2")["callbacks_sent"] == 17)
    row = merchant.ledger("A1")
    assert (row["callbacks_sent"], row["callbacks_acknowledged"]) == (17, 0)


def test_unreachable_receiver_is_retried(start: Any) -> None:
    """A receiver that refuses connections costs attempts, not the gateway."""
    merchant = start(callback_scale=0.00001)
    merchant.create("A1", notify_url="http://127.0.0.1:1/callback")
    until(lambda: merchant.ledger("A1")["callbacks_sent"] == 17)


def test_no_callback(merchant: Merchant, receiver: Receiver) -> None:
    """With no_callback the order ends silently; so it does without a notifyUrl."""
    merchant.create("A1", "no_callback", receiver.url)
    merchant.create("A2")
    merchant.create("A3", "", receiver.url)
    until(lambda: receiver.of("A3"))
    for no in ("A1", "A2"):
        until(lambda one=no: merchant.ledger(one)["payments"] == 1)
        assert merchant.ledger(no)["callbacks_sent"] == 0


def test_duplicate_callback(merchant: Merchant, receiver: Receiver) -> None:
    """The same callback comes several times."""
    merchant.create("A1", "duplicate_callback=4", receiver.url)
    until(lambda: len(receiver.of("A1")) == 4)
    assert all(fields == receiver.of("A1")[0] for fields in receiver.of("A1"))


def test_late_callback_waits_for_a_query(merchant: Merchant, receiver: Receiver) -> None:
    """The callback comes only after a query has shown the end."""
    merchant.create("A1", "late_callback", receiver.url)
    until(lambda: merchant.ledger("A1")["status"] == "7")
    merchant.create("A2", notify_url=receiver.url)
    until(lambda: receiver.of("A2"))
    assert receiver.of("A1") == []
    assert merchant.status("A1") == "7"
    until(lambda: receiver.statuses("A1") == ["7"])


def test_late_callback_comes_without_a_query_too(merchant: Merchant, receiver: Receiver) -> None:
    """Nobody asks, and the callback comes when its longest wait is over."""
    merchant.create("A1", "late_callback=0.2", receiver.url)
    until(lambda: receiver.statuses("A1") == ["7"])


def test_out_of_order_callback(merchant: Merchant, receiver: Receiver) -> None:
    """A callback with status 1 follows the one with 7, both rightly signed."""
    merchant.create("A1", "out_of_order_callback", receiver.url)
    until(lambda: receiver.statuses("A1") == ["7", "1"])
    assert all(signed_rightly(fields) for fields in receiver.of("A1"))


def test_wrong_callback_signature(merchant: Merchant, receiver: Receiver) -> None:
    """The first callbacks bear a wrong signature, the retry a right one."""
    receiver.replies = [(403, "fail")] * 2
    merchant.create("A1", "wrong_callback_signature=2", receiver.url)
    until(lambda: merchant.ledger("A1")["callbacks_acknowledged"])
    assert [signed_rightly(fields) for fields in receiver.of("A1")] == [False, False, True]


def test_contradicting_callback(merchant: Merchant, receiver: Receiver) -> None:
    """A callback says 7, a later one 6; the order was paid once and queries say so."""
    merchant.create("A1", "contradict", receiver.url)
    until(lambda: receiver.statuses("A1") == ["7", "6"])
    assert merchant.status("A1") == "7"
    assert merchant.ledger("A1")["payments"] == 1


def test_wrong_amount_callback(merchant: Merchant, receiver: Receiver) -> None:
    """The callback, rightly signed, names another amount than the query."""
    merchant.create("A1", "wrong_amount_callback", receiver.url)
    until(lambda: receiver.of("A1"))
    [fields] = receiver.of("A1")
    assert signed_rightly(fields)
    assert fields["amount"] == "11.00"
    assert merchant.query("A1")["data"]["amount"] == "10.00"


def test_reported_change_of_mind(merchant: Merchant, receiver: Receiver) -> None:
    """A report changes the status and calls back; paying what had failed is booked as a payment."""
    merchant.create("A1", "fail", receiver.url)
    until(lambda: receiver.statuses("A1") == ["6"])
    assert merchant.gateway.report("A1", "7")
    until(lambda: receiver.statuses("A1") == ["6", "7"])
    assert merchant.gateway.report("A1", "7", callback=False)
    assert merchant.ledger("A1")["payments"] == 1
    assert not merchant.gateway.report("nowhere", "7")
