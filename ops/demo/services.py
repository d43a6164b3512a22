"""Every process of the service, on embedded servers, for the demo and `payouts dev`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests

from devstack.ports import free_port
from devstack.postgres import LocalPostgres
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from devstack.wait import wait_for
from ops.demo.server_checks import unused_broker, unused_database
from shared.storage import migrate

ACCOUNT = "test2020@epay.com"
API_KEY = "TESTKEY123"
"""The stand-in gateway's own key: it opens nothing."""

_START_SECONDS = 30
_STOP_SECONDS = 8


@dataclass(frozen=True)
class Services:
    """The running service: where to reach it, and its processes."""

    environment: Mapping[str, str]
    """What another process needs to work with it."""
    database_url: str
    redis_url: str
    gateway_url: str
    webhook_url: str
    processes: ProcessGroup
    logs: Path


@contextlib.contextmanager
def running(
    logs: Path, settings: Mapping[str, str], sandbox: Mapping[str, str], data: Path | None = None
) -> Iterator[Services]:
    """Start PostgreSQL, Redis, the sandbox, workers, beat and webhook; stop them at the end.

    Args:
        logs: the folder for the logs of all processes.
        settings: environment of the service beside its addresses.
        sandbox: settings of the stand-in gateway, as its environment.
        data: where PostgreSQL and Redis keep their data; None: nowhere for long.

    Raises:
        UserError: DATABASE_URL or REDIS_URL names a server that is in use.
    """
    database_given, redis_given = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    with contextlib.ExitStack() as stack:
        if database_given:
            database_url = unused_database(database_given)
        else:
            database_url = stack.enter_context(_postgres(data)).url
        if redis_given:
            redis_url = unused_broker(redis_given)
        else:
            redis_url = stack.enter_context(_redis(data)).url
        migrate.upgrade(database_url)
        processes = stack.enter_context(ProcessGroup())
        gateway_port, webhook_port = free_port(), free_port()
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "EPAY_BASE_URL": f"http://127.0.0.1:{gateway_port}/capi/openapi",
            "EPAY_ACCOUNT": ACCOUNT,
            "EPAY_API_KEY": API_KEY,
            "EPAY_NOTIFY_URL": f"http://127.0.0.1:{webhook_port}/epay/callback",
            "PYTHONUNBUFFERED": "1",
            **settings,
            "SANDBOX_PORT": str(gateway_port),
            "SANDBOX_ACCOUNT": ACCOUNT,
            "SANDBOX_API_KEY": API_KEY,
            **sandbox,
        }
        services = Services(
            environment=environment,
            database_url=database_url,
            redis_url=redis_url,
            gateway_url=f"http://127.0.0.1:{gateway_port}",
            webhook_url=f"http://127.0.0.1:{webhook_port}",
            processes=processes,
            logs=logs,
        )
        _start(services, webhook_port)
        try:
            yield services
        finally:
            processes.terminate_all(_STOP_SECONDS)


def commands(webhook_port: int) -> dict[str, list[str]]:
    """The processes of the service, as in the Procfile; for each its command line."""
    python = [sys.executable, "-m"]
    worker = [*python, "celery", "-A", "worker", "worker", "--without-gossip", "--without-mingle"]
    return {
        "gateway": [*python, "sandbox"],
        "worker": [*worker, "-n", "worker@%h", "-Q", "payouts", "-c", "32"],
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


def _postgres(data: Path | None) -> LocalPostgres:
    return LocalPostgres(data and _made(data / "postgres"))


def _redis(data: Path | None) -> LocalRedis:
    return LocalRedis(data and _made(data / "redis"))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
