"""What the demo and `payouts dev` notice of their processes, their servers and the breaker."""

from __future__ import annotations

import time
from pathlib import Path

import redis

from devstack.ports import free_port
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from ops.demo import run
from ops.demo.services import Services
from shared.domain import circuit_breaker
from shared.domain.circuit_breaker import BreakerRules


def test_a_dead_server_is_named_with_its_log(tmp_path: Path) -> None:
    with LocalRedis() as server, ProcessGroup() as processes:
        process = server.process
        services = Services({}, "", "", processes, {"Redis": process}, tmp_path)
        assert services.ended() == {}
        server.kill()
        [(name, (code, log))] = services.ended().items()
        assert (name, code) == ("Redis", -9)
        assert "Ready to accept connections" in log.read_text()


def test_a_preferred_port_is_kept_while_it_is_free() -> None:
    """From one run to the next; if another program has it, there is another one."""
    with LocalRedis(port=free_port()) as server:
        assert free_port(server.port) != server.port
        port = server.port
    assert free_port(port) == port


def test_the_demo_shows_an_open_breaker(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert run.breaker_line(client) == ""
        opening = circuit_breaker.open_breaker(time.time(), "5 creates in a row", BreakerRules())
        client.set(circuit_breaker.KEY, circuit_breaker.serialize(opening))
        shown = run.breaker_line(client)
    assert shown.startswith("circuit breaker open: 5 creates in a row; next probe in ")
