"""Every process of the service, on servers of this machine, for the demo and `payouts dev`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import redis
import requests
from sqlalchemy import inspect, text

from devstack.ports import free_port
from devstack.postgres import LocalPostgres
from devstack.process import ChildProcess
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from devstack.wait import wait_for
from ops.connections import open_database
from ops.errors import UserError
from shared.storage import migrate

ACCOUNT = "test2020@epay.com"
API_KEY = "TESTKEY123"
"""The stand-in gateway's own key: it opens nothing."""

_START_SECONDS = 30
_STOP_SECONDS = 8


class Ports(NamedTuple):
    """The preferred TCP ports of 127.0.0.1; one that is taken is replaced, 0 is any."""

    gateway: int = 0
    webhook: int = 0
    redis: int = 0


ANY_PORTS = Ports()


@dataclass(frozen=True)
class Services:
    """The running service: its addresses and its processes."""

    environment: Mapping[str, str]
    """The environment of a process that works with the service."""
    gateway_url: str
    webhook_url: str
    processes: ProcessGroup
    servers: Mapping[str, ChildProcess]
    """PostgreSQL and Redis, if they were started here."""
    logs: Path

    def ended(self) -> dict[str, tuple[int, Path]]:
        """The processes and servers that have ended: exit code and log, by name."""
        found = {
            name: (code, self.logs / f"{name}.log") for name, code in self.processes.poll().items()
        }
        for name, server in self.servers.items():
            if (code := server.returncode) is not None:
                found[name] = code, server.log_path
        return found


@contextlib.contextmanager
def running(
    logs: Path,
    settings: Mapping[str, str],
    sandbox: Mapping[str, str],
    data: Path | None = None,
    ports: Ports = ANY_PORTS,
) -> Iterator[Services]:
    """Start PostgreSQL, Redis, the sandbox, workers, beat and webhook; stop them at the end.

    Args:
        logs: the folder for the logs of all processes.
        settings: environment of the service beside its addresses.
        sandbox: settings of the stand-in gateway, as its environment.
        data: where PostgreSQL and Redis keep their data; None: in temporary folders.
        ports: the preferred ports.

    Raises:
        UserError: DATABASE_URL or REDIS_URL names a server that is in use.
    """
    servers: dict[str, ChildProcess] = {}
    with contextlib.ExitStack() as stack:
        if given := os.environ.get("DATABASE_URL"):
            database_url = unused_database(given)
        else:
            postgres = stack.enter_context(LocalPostgres(data and data / "postgres"))
            database_url, servers["PostgreSQL"] = postgres.url, postgres.process
        if given := os.environ.get("REDIS_URL"):
            redis_url = unused_broker(given)
        else:
            port = free_port(ports.redis) if ports.redis else None
            broker = stack.enter_context(LocalRedis(data and data / "redis", port))
            redis_url, servers["Redis"] = broker.url, broker.process
        migrate.upgrade(database_url)
        processes = stack.enter_context(ProcessGroup())
        gateway_port, webhook_port = free_port(ports.gateway), free_port(ports.webhook)
        gateway_url = f"http://127.0.0.1:{gateway_port}"
        webhook_url = f"http://127.0.0.1:{webhook_port}"
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "EPAY_BASE_URL": f"{gateway_url}/capi/openapi",
            "EPAY_ACCOUNTS_FILE": "none",  # one in .env would name real accounts
            "EPAY_ACCOUNT": ACCOUNT,
            "EPAY_API_KEY": API_KEY,
            "EPAY_NOTIFY_URL": f"{webhook_url}/epay/callback",
            "PYTHONUNBUFFERED": "1",
            **settings,
            "SANDBOX_PORT": str(gateway_port),
            "SANDBOX_ACCOUNT": ACCOUNT,
            "SANDBOX_API_KEY": API_KEY,
            **sandbox,
        }
        services = Services(environment, gateway_url, webhook_url, processes, servers, logs)
        _start(services, webhook_port)
        try:
            yield services
        finally:
            processes.terminate_all(_STOP_SECONDS)


def unused_database(url: str) -> str:
    """The URL of a given database, if it holds no payout.

    Raises:
        UserError: it does, or cannot be read.
    """
    with open_database(url) as engine, engine.connect() as connection:
        if not inspect(connection).has_table("payout"):
            return url
        if not connection.execute(text("SELECT EXISTS (SELECT FROM payout)")).scalar_one():
            return url
    raise UserError(
        "the database at DATABASE_URL holds payouts: name an empty one, or unset DATABASE_URL to"
        " have one started"
    )


def unused_broker(url: str) -> str:
    """The URL of a given Redis, if it is empty: real workers would take payouts from one in use.

    Raises:
        UserError: it is not, or does not answer.
    """
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            used = client.dbsize()
    except redis.RedisError as error:
        raise UserError(
            f"the Redis at REDIS_URL does not answer ({type(error).__name__})"
        ) from error
    if used:
        raise UserError(
            "the Redis at REDIS_URL is in use: real workers could take the demo's payouts. Name"
            " an empty one, or unset REDIS_URL to have one started"
        )
    return url


def commands(webhook_port: int) -> dict[str, list[str]]:
    """The command line of each process of the service, as in the Procfile."""
    python = [sys.executable, "-m"]
    worker = [*python, "celery", "-A", "worker", "worker", "--without-gossip", "--without-mingle"]
    return {
        "gateway": [*python, "sandbox"],
        "worker": [
            *worker,
            *("-n", "worker@%h", "-Q", "payouts,payouts.submit,payouts.bulk", "-c", "32"),
        ],
        "reconciler": [
            *worker,
            *("-n", "reconciler@%h", "-Q", "payouts.reconcile,payouts.notify", "-c", "8"),
        ],
        "beat": [*python, "celery", "-A", "worker", "beat"],
        "webhook": [
            *(*python, "gunicorn", "webhook:create_app()", "--bind", f"127.0.0.1:{webhook_port}"),
            *("--worker-class", "gthread", "--threads", "16", "--no-control-socket"),
        ],
    }


def _start(services: Services, webhook_port: int) -> None:
    services.logs.mkdir(parents=True, exist_ok=True)
    for name, command in commands(webhook_port).items():
        services.processes.start(
            name, command, env=services.environment, log_path=services.logs / f"{name}.log"
        )
    wait_for(lambda: _answers(f"{services.gateway_url}/_ledger"), _START_SECONDS, "the gateway")
    wait_for(lambda: _answers(f"{services.webhook_url}/readyz"), _START_SECONDS, "the webhook")
    for name in ("worker", "reconciler"):
        wait_for(partial(_is_ready, services.logs / f"{name}.log"), _START_SECONDS, f"the {name}")


def _is_ready(log: Path) -> bool:
    return " ready." in log.read_text()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False
