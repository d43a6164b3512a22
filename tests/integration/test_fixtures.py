"""The fixtures that all other tests stand on."""

from __future__ import annotations

import socket

import psycopg
import pytest
import redis

from tests.support import servers
from tests.support.isolation import OutsideConnectionError
from tests.support.service import bare_environment


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_other_machines_are_out_of_reach(method: str) -> None:
    """A connection to another machine fails before a packet leaves, and says so."""
    with socket.socket() as outside, pytest.raises(OutsideConnectionError, match=r"192\.0\.2\.1"):
        getattr(outside, method)(("192.0.2.1", 80))


def test_this_machine_is_in_reach() -> None:
    """Loopback connections work."""
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


@pytest.mark.parametrize("turn", [1, 2])
def test_database_is_fresh(empty_database_url: str, turn: int) -> None:
    """Each test has a database of its own."""
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE mine (turn integer)")


@pytest.mark.parametrize("turn", [1, 2])
def test_database_is_migrated_and_empty(database_url: str, turn: int) -> None:
    """Each test has the tables, without what another test wrote."""
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM payout").fetchone() == (0,)
        connection.execute("CREATE TABLE mine (turn integer)")


@pytest.mark.parametrize("turn", [1, 2])
def test_redis_is_flushed(redis_url: str, turn: int) -> None:
    """Each test finds an empty broker."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("key", turn)


def test_broker_in_use_is_never_flushed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """REDIS_URL may name a broker with payouts on it: then the tests refuse to run."""
    monkeypatch.setenv("TEST_REDIS_URL", redis_url)
    with redis.Redis.from_url(redis_url) as client:
        client.set("celery", "work")
        with pytest.raises(RuntimeError, match="REDIS_URL names a database with 1 keys"):
            servers.provide_redis().__enter__()
        assert client.get("celery") == b"work"


def test_named_servers_are_used(
    empty_database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers named in the environment are used instead of our own."""
    monkeypatch.setenv("TEST_DATABASE_URL", empty_database_url)
    monkeypatch.setenv("TEST_REDIS_URL", redis_url)

    with servers.provide_postgres() as postgres, servers.provide_redis() as broker:
        assert (postgres.url, broker.url) == (empty_database_url, redis_url)
        postgres.drop_database("never there")
    assert servers.named_hosts() == {"127.0.0.1"}


def test_started_processes_share_a_faked_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """They inherit the library that fakes the time and its offset, and no setting."""
    faking = {"LD_LIBRARY_PATH": "/usr/lib/datefudge", "DATEFUDGE": "47107"}
    for name, value in {**faking, "EPAY_API_KEY": "KEY"}.items():
        monkeypatch.setenv(name, value)
    kept = bare_environment()
    assert faking.items() <= kept.items()
    assert "EPAY_API_KEY" not in kept
