"""Requests without a worker: one number for several accounts, in one batch and at one moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from devstack.wait import wait_for
from shared.domain import lifecycle
from shared.domain.accounts import ConfiguredAccount, ConfiguredAccounts
from shared.domain.payout import PayoutState
from shared.domain.policy import Policy
from shared.storage.bulk_insert import IntakeResult, insert_or_compare
from shared.storage.encryption import NO_ENCRYPTION
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_service_payout

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
A, B = "a@epay.com", "b@epay.com"
ONE = ConfiguredAccounts.one(A)
BOTH = ConfiguredAccounts((ConfiguredAccount(A), ConfiguredAccount(B)), ConfiguredAccount(A))


def named(account: str, **changes: Any) -> PayoutState:
    """A request that names the account."""
    return make_service_payout(
        "o-1", NOW, **({"epay_account": account, "order_scope": account} | changes)
    )


UNNAMED = named(A, order_scope="")


def insert(
    connection: Connection, *wanted: PayoutState, accounts: ConfiguredAccounts = BOTH
) -> list[IntakeResult]:
    return insert_or_compare(
        connection, wanted, now=NOW, due_at=NOW, cipher=NO_ENCRYPTION, accounts=accounts
    )


def accounts_of(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT epay_account FROM payout ORDER BY id")))


def test_each_request_is_compared_with_the_payout_of_its_account(engine: Engine) -> None:
    """Two requests of one batch with one number, for two accounts: not both with the last one's."""
    wanted = named(A, remark="for A"), named(B, remark="for B")
    with engine.begin() as connection:
        assert [one.is_new for one in insert(connection, *wanted)] == [True, True]
    with engine.begin() as connection:
        again = insert(connection, *wanted)
    assert [one.payout.epay_account for one in again] == [A, B]
    assert [list(one.conflicting) for one in again] == [[], []]


def test_in_one_batch_a_request_without_an_account_stands_for_an_earlier_one(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        first, second = insert(connection, named(B), UNNAMED)
    assert (first.is_new, second.is_new) == (True, False)
    assert second.payout.epay_account == B
    assert accounts_of(engine) == [B]


@pytest.mark.parametrize("by_worker", [False, True], ids=["batch", "worker"])
def test_a_request_without_an_account_waits_for_one_that_is_being_stored(
    engine: Engine, by_worker: bool
) -> None:
    """Law 10, in two threads: the other's row is not committed yet, so no statement sees it."""

    def request() -> str:
        if by_worker:
            store = PayoutStore(engine, several_accounts=True)
            step = lifecycle.accept(UNNAMED, claim_id="c", now=NOW, policy=Policy())
            assert store.insert([step]) == [None]
            standing = store.find_standing(UNNAMED)
            assert standing is not None
            return standing.epay_account
        with engine.begin() as connection:
            (found,) = insert(connection, UNNAMED)
            assert not found.is_new
            return found.payout.epay_account

    with engine.connect() as other, ThreadPoolExecutor(1) as pool:
        with other.begin():
            assert insert(other, named(B))[0].is_new
            waiting = pool.submit(request)
            asked = text(
                "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
                " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
            )
            with engine.connect() as watching:
                wait_for(
                    lambda: waiting.done() or watching.execute(asked).scalar_one(), 30, "a wait"
                )
        assert waiting.result(timeout=30) == B
    assert accounts_of(engine) == [B]


@pytest.mark.parametrize(("accounts", "statements"), [(ONE, 1), (BOTH, 2)])
def test_a_single_account_takes_no_lock(
    engine: Engine, accounts: ConfiguredAccounts, statements: int
) -> None:
    """Its constraints hold the law, in the one round trip of the insert."""
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    with engine.begin() as connection:
        assert insert(connection, UNNAMED, accounts=accounts)[0].is_new
    assert len(seen) == statements
