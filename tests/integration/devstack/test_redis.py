"""The local Redis server: a broker that can be killed, wiped, frozen and started again."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import redis

from devstack import redis as local_redis
from devstack.ports import free_port
from devstack.redis import LocalRedis
from devstack.server import ServerNotStarted


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedis]:
    """A server that the drills below may kill: each starts it again."""
    with LocalRedis() as local:
        yield local


@pytest.fixture
def client(server: LocalRedis) -> Iterator[redis.Redis]:
    """A client that does not try again by itself."""
    with redis.Redis.from_url(server.url, retry=None, socket_timeout=60) as connection:
        yield connection


def test_set_up_as_a_broker(client: redis.Redis, server: LocalRedis) -> None:
    """Loopback alone, every write in a file, no snapshots, nothing evicted."""
    wanted = {
        "bind": "127.0.0.1",
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }

    assert wanted.items() <= client.config_get("*").items()
    assert server.url == f"redis://127.0.0.1:{server.port}/0"


def test_killed_and_started_with_its_data(client: redis.Redis, server: LocalRedis) -> None:
    """What was written is back after SIGKILL, under the same URL."""
    client.set("kept", "yes")
    before, url = server.pid, server.url

    server.kill()

    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid
    server.start()
    assert server.pid != before
    assert server.url == url
    assert client.get("kept") == b"yes"


def test_killed_and_started_empty(client: redis.Redis, server: LocalRedis) -> None:
    """A broker may lose everything."""
    client.set("lost", "yes")

    server.kill()
    server.start(wipe=True)

    assert client.dbsize() == 0


def test_frozen(client: redis.Redis, server: LocalRedis) -> None:
    """A frozen server keeps connections and answers nothing, until it goes on."""
    client.set("a", "b")
    hasty = redis.Redis.from_url(server.url, retry=None, socket_timeout=0.3)
    with hasty, server.paused(), pytest.raises(redis.TimeoutError):
        hasty.get("a")

    assert client.get("a") == b"b"


def test_clean_stop_and_idempotent_start(client: redis.Redis, server: LocalRedis) -> None:
    """A stopped server starts again with its data; starting twice is starting once."""
    client.set("kept", "yes")
    server.stop()
    server.start()
    pid = server.pid
    server.start()

    assert server.pid == pid
    assert client.get("kept") == b"yes"


def test_taken_port_is_not_mistaken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """When another server got the port first, the next free one is taken."""
    with LocalRedis() as other:
        ports = iter([other.port, free_port()])
        monkeypatch.setattr(local_redis, "free_port", lambda: next(ports))
        with LocalRedis() as server:
            assert server.port != other.port


def test_it_gives_up_on_ports_that_are_all_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries the clash is reported, with the server's own words."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(local_redis, "free_port", lambda: taken.getsockname()[1])
        with pytest.raises(ServerNotStarted, match="Address already in use"):
            LocalRedis().__enter__()


def test_url_before_the_start() -> None:
    """There is no URL before there is a server."""
    with pytest.raises(RuntimeError, match="never started"):
        _ = LocalRedis().url
