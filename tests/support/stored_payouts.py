"""For the tests of storage: payouts as a shop asks for them, and the steps that they take."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.domain import lifecycle, reports
from shared.domain.payout import PayoutState, Transition
from shared.domain.policy import Policy
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_report, make_service_payout

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = Policy()
NOTIFY = {"task": "t", "queue": "q", "on": ["accepted", "final"]}


def new(order_no: str = "o-1", **changes: Any) -> PayoutState:
    fields = {"epay_account": "shop@epay.com", "extend_fields": {"a": "b"}, "notify": NOTIFY}
    return make_service_payout(order_no, NOW, **(fields | changes))


def accepted(store: PayoutStore, order_no: str = "o-1", **changes: object) -> PayoutState:
    step = lifecycle.accept(new(order_no, **changes), claim_id="c", now=NOW, policy=POLICY)
    payout = store.insert([step])[0]
    assert payout is not None
    return payout


def accepting(order_no: str) -> Transition:
    return lifecycle.accept(new(order_no), claim_id="c", now=NOW, policy=POLICY)


def succeeded(payout: PayoutState) -> Transition:
    report = make_report("7", payout=payout, epay_order_no="E1", fee=Decimal("0.125"))
    return reports.on_callback(payout, report, now=NOW, policy=POLICY, jitter=0)
