"""Waiting for the lock of a cap: bounded, and without keeping connections from others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from devstack.wait import wait_for
from shared.domain.payout import PayoutState
from shared.storage import payout_store
from shared.storage.engine import is_transient, make_engine
from shared.storage.payout_store import _CAP_LOCK, PayoutStore
from shared.storage.statements import CAP_LOCK
from tests.support.stored_payouts import NOW, accepted, succeeded


def test_claims_that_wait_for_the_cap_leave_connections_to_others(
    engine: Engine, database_url: str
) -> None:
    """However many of a process's threads wait, an answer is recorded meanwhile."""
    store = PayoutStore(make_engine(database_url, pool_size=2))
    claimed = accepted(store, "answered")
    waiting = [accepted(store, f"waiting-{nth}") for nth in range(4)]
    with ThreadPoolExecutor(4) as pool:
        with engine.begin() as holder:
            holder.execute(CAP_LOCK, {"key": _CAP_LOCK, "currency": waiting[0].currency})
            results = [
                pool.submit(store.update_within_cap, payout, NOW, lambda _found, _sent: None)
                for payout in waiting
            ]
            wait_for(lambda: locks_waited_for(holder) > 0, 10, "a claim to wait for the cap")
            assert store.apply(succeeded(claimed)) is not None
            assert not any(result.done() for result in results)
        assert [result.result() for result in results] == waiting
    store.engine.dispose()


def test_a_claim_waits_a_bounded_time_for_the_cap(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is transient: the task tries again."""
    store = PayoutStore(engine)
    payout = accepted(store)
    monkeypatch.setattr(payout_store, "_CAP_WAIT_SECONDS", 0.05)

    def claim_another(_found: PayoutState, _sent: Decimal) -> None:
        store.update_within_cap(payout, NOW, lambda _found, _sent: None)

    with pytest.raises(PoolTimeout, match="wait for the cap") as refused:
        store.update_within_cap(payout, NOW, claim_another)
    assert is_transient(refused.value)
    assert store.update_within_cap(payout, NOW, lambda _found, _sent: None) == payout


def locks_waited_for(connection: Connection) -> int:
    asked = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return int(connection.execute(asked).scalar_one())
