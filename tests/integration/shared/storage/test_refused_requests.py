"""Requests that were refused: one row each, and never more rows than are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from shared.storage import refused_requests
from shared.storage.payout_store import PayoutStore
from shared.storage.refused_requests import Refusal

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def refusal(nth: int) -> Refusal:
    return Refusal(
        at=NOW + timedelta(minutes=nth),
        source="gen1@shop",
        merchant_order_no=f"order-{nth}",
        account_no="*******7890",
        code="missing_field",
        field="amount",
        message="Field required",
    )


def test_the_newest_are_kept(
    store: PayoutStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come, each one with the oldest beyond the bound deleted."""
    monkeypatch.setattr(refused_requests, "MAX_ROWS", 3)
    for nth in range(10):
        store.record_refused_request(refusal(nth))
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT count(*) FROM payout_refused")).scalar_one()
        assert rows == min(nth + 1, 3)
    kept = refused_requests.newest(engine, since=None, until=None, limit=0)
    assert kept == [refusal(9), refusal(8), refusal(7)]


def test_they_are_found_by_time(store: PayoutStore, engine: Engine) -> None:
    """From the first moment on, before the last one, newest first."""
    for nth in range(4):
        store.record_refused_request(refusal(nth))
    since, until = refusal(1).at, refusal(3).at
    found = refused_requests.newest(engine, since=since, until=until, limit=0)
    assert found == [refusal(2), refusal(1)]
    assert refused_requests.newest(engine, since=None, until=None, limit=1) == [refusal(3)]
