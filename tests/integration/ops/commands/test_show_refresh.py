"""`payouts show --refresh`: EPAY is asked, and its answer is recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog
from sqlalchemy import Engine

from sandbox.server import Gateway
from shared.storage import write_transitions
from tests.support.commands import shown_by_epay, unknown


def test_show_asks_epay_now(run: Any, engine: Engine, gateway: Gateway) -> None:
    """Its answer is recorded and shown at once; away, what was known is shown, and exit 2."""
    unknown(engine, "order-1")
    shown_by_epay(gateway, "order-1")
    ran = run("show", "order-1", "--refresh", "--json")
    assert ran.code == 0
    assert "EPAY answers status 7 (succeeded)" in ran.err
    assert json.loads(ran.out)[0]["payout"]["status"] == "succeeded"
    unknown(engine, "order-2")
    away = run("show", "order-2", "--refresh", EPAY_BASE_URL="http://127.0.0.1:1/capi/openapi")
    assert away.code == 2
    assert "EPAY could not be queried" in away.err
    assert "unknown" in away.out


def test_a_reason_that_a_command_sets_is_logged_beside_its_answer(
    run: Any, engine: Engine, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr: stdout stays JSON."""
    monkeypatch.setattr(write_transitions, "log", structlog.get_logger())  # as in a new process
    unknown(engine, "order-1")
    shown_by_epay(gateway, "order-1")
    order = gateway.book.find("order-1")
    assert order is not None
    order.amount += 1
    ran = run("show", "order-1", "--refresh", "--json")
    assert json.loads(ran.out)[0]["payout"]["review_reason"].startswith("mismatch: ")
    assert "review_reason_set" in ran.err
    assert "code=mismatch" in ran.err
