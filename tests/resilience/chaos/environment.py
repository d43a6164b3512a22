"""The processes of the service as the drills run them: two senders, a reconciler, two beats."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from devstack.ports import free_port
from devstack.postgres import LocalPostgres
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from ops.demo.services import ACCOUNT, API_KEY, commands
from sandbox.server import Gateway

SETTINGS = {
    "EPAY_NOT_FOUND_CODES": "2001",
    "EPAY_REFUSED_CODES": "2005",
    "EPAY_CONNECT_TIMEOUT": "1",
    "EPAY_READ_TIMEOUT": "3",
    "EPAY_LEASE_SECONDS": "8",
    "EPAY_SETTLE_SECONDS": "14",
    "EPAY_QUERY_BACKOFF": "2,3,4,5",
    "EPAY_SUBMIT_BACKOFF": "1,2,4",
    "BROKER_VISIBILITY_TIMEOUT": "30",
    "BREAKER_PAUSE_SECONDS": "0.5",
    "BREAKER_LONGEST_PAUSE_SECONDS": "2",
    "SWEEP_SECONDS": "1",
    "PYTHONUNBUFFERED": "1",
}
"""Days in seconds."""


def start(
    processes: ProcessGroup,
    postgres: LocalPostgres,
    redis: LocalRedis,
    gateway: Gateway,
    logs: Path,
    settings: Mapping[str, str] = SETTINGS,
) -> None:
    """Start every process; they find each other, the servers and the gateway."""
    port = free_port()
    environment = {
        **os.environ,
        **settings,
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis.url,
        "EPAY_BASE_URL": gateway.base_url,
        "EPAY_ACCOUNT": ACCOUNT,
        "EPAY_API_KEY": API_KEY,
        "EPAY_NOTIFY_URL": f"http://127.0.0.1:{port}/epay/callback",
    }
    given = commands(port)
    started = {
        "worker-1": given["worker"],
        "worker-2": [*given["worker"], "-n", "worker2@%h"],
        "reconciler": given["reconciler"],
        "beat-1": given["beat"],
        "beat-2": given["beat"],
        "webhook": given["webhook"],
    }
    for name, command in started.items():
        processes.start(name, command, env=environment, log_path=logs / f"{name}.log")
