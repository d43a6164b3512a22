"""For the tests of the `payouts` command: payouts of an hour ago, and somebody who types."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from click.testing import make_input_stream
from sqlalchemy import Engine

from devstack.wait import wait_for
from sandbox.server import Gateway
from shared.clock import utcnow
from shared.config.builders import build_epay_config
from shared.config.settings import Settings
from shared.domain import lifecycle, review
from shared.domain.gateway import CreateOrder, OutcomeUnknown
from shared.domain.payout import PayoutState, Transition
from shared.domain.policy import Policy
from shared.epay.client import EpayClient
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_service_payout

ACCOUNT = "test2020@epay.com"
ACCOUNT_NO = "U1234567890"
BY = ["--name", "Ann Smith", "--reason", "EPAY says so, ticket 7"]
OLD = timedelta(hours=1)


def new(order_no: str, age: timedelta = OLD, **changes: Any) -> PayoutState:
    fields = {"account_no": ACCOUNT_NO} | changes
    return make_service_payout(order_no, utcnow() - age, **fields)


def queued(engine: Engine, order_no: str, **changes: Any) -> PayoutState:
    payout = new(order_no, **changes)
    [found] = PayoutStore(engine).insert([lifecycle.accept_queued(payout, now=payout.created_at)])
    assert found is not None
    return found


def unknown(engine: Engine, order_no: str, age: timedelta = OLD) -> PayoutState:
    """Sent so long ago; EPAY's answer was lost."""
    payout, store, policy = new(order_no, age), PayoutStore(engine), Policy()
    at = payout.created_at
    [sent] = store.insert([lifecycle.accept(payout, claim_id="c", now=at, policy=policy)])
    assert sent is not None
    lost = lifecycle.on_create_answer(
        sent, OutcomeUnknown("read timeout"), claim_id="c", now=at, policy=policy, jitter=0.0
    )
    found = store.apply(lost)
    assert found is not None
    return found


def flagged(engine: Engine, payout: PayoutState, code: str) -> None:
    def decide(fresh: PayoutState) -> Transition:
        return Transition(fresh, review.flag(fresh, code, "in words", utcnow() - timedelta(days=2)))

    PayoutStore(engine).update(payout.id, decide)


def shown_by_epay(gateway: Gateway, order_no: str) -> None:
    """EPAY has the order after all, and pays it."""
    settings = Settings(
        epay_base_url=gateway.base_url, epay_account=ACCOUNT, epay_api_key="TESTKEY123"
    )
    client = EpayClient(build_epay_config(settings))
    client.create(CreateOrder(order_no, "10.50", "USD", "11", ACCOUNT_NO))
    client.close()
    wait_for(lambda: gateway.ledger()["orders"][order_no]["status"] == "7", 60, "EPAY to say 7")


def status_of(engine: Engine, order_no: str) -> str:
    found = PayoutStore(engine).find(ACCOUNT, order_no)
    assert found is not None
    return found.status.value


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Somebody sits there, and types."""
    monkeypatch.setattr("ops.commands.resolve._is_terminal", lambda: True)
    typed = "".join(f"{line}\n" for line in lines)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(make_input_stream(typed, "utf-8")))
