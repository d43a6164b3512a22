"""The demo never touches a server that somebody uses."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import text

from ops.demo import run
from ops.demo.services import unused_broker, unused_database
from ops.errors import UserError
from sandbox.server import Gateway
from shared.storage.engine import make_engine


def test_empty_servers_are_taken(database_url: str, redis_url: str) -> None:
    """A migrated database without payouts, a Redis without keys."""
    assert unused_database(database_url) == database_url
    assert unused_broker(redis_url) == redis_url


def test_a_database_without_tables_is_taken(empty_database_url: str) -> None:
    """Nothing was ever migrated there."""
    assert unused_database(empty_database_url) == empty_database_url


def test_a_broker_in_use_is_refused(redis_url: str) -> None:
    """Real workers could pay the demo's payouts."""
    with redis.Redis.from_url(redis_url) as client:
        client.set("_kombu.binding.payouts", "x")
    with pytest.raises(UserError, match="in use"):
        unused_broker(redis_url)


def test_a_database_with_payouts_is_refused(database_url: str) -> None:
    """Their owner would not know them again."""
    engine = make_engine(database_url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO payout (epay_account, merchant_order_no, amount, currency,"
                " channel_code, account_no, status, due_at, sequence, journal_hash, nonce,"
                " attempts, queries, absences, created_at, updated_at) VALUES ('a', 'o', 1, 'USD',"
                " '11', 'U', 'queued', now(), 1, 'x', 'n', 0, 0, '[]', now(), now())"
            )
        )
    engine.dispose()
    with pytest.raises(UserError, match="holds payouts"):
        unused_database(database_url)


def test_servers_that_are_away_are_told() -> None:
    """In words, each with the name of its setting."""
    with pytest.raises(UserError, match="DATABASE_URL"):
        unused_database("postgresql://u@127.0.0.1:1/none")
    with pytest.raises(UserError, match="REDIS_URL"):
        unused_broker("redis://127.0.0.1:1/0")


def test_a_gateway_that_is_away_at_the_end_is_waited_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage is one of the demo's faults; a gateway that stays away is told in words."""
    engine = make_engine(database_url, pool_size=1)
    with Gateway() as gateway:
        gateway.set_faults(down_seconds=0.5, mode="refuse")
        assert run._read_result(engine, gateway.root_url) == ({}, {})
        gateway.set_faults(down_seconds=600, mode="refuse")
        monkeypatch.setattr(run, "_LEDGER_SECONDS", 0.1)
        with pytest.raises(UserError, match="ledger"):
            run._read_result(engine, gateway.root_url)
    engine.dispose()
