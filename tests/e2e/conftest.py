"""Real processes: worker, beat and webhook, with real PostgreSQL and Redis and the sandbox gateway.

Started once for a module; each test asks for payouts under numbers of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from sandbox.settings import Duplicates, SandboxConfig
from tests.support.databases import fresh_database
from tests.support.servers import PostgresServer, RedisServer, flush
from tests.support.service import SHORT, Service, service

MakeService = Callable[..., Service]


@pytest.fixture(scope="module")
def broker_atomic_fetch() -> str:
    """How the workers fetch messages: BROKER_ATOMIC_FETCH=off runs all of tests/e2e on kombu."""
    return os.environ.get("BROKER_ATOMIC_FETCH", "on")


@pytest.fixture(scope="module")
def make_service(
    broker_atomic_fetch: str,
    postgres: PostgresServer,
    template_database: str,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MakeService]:
    """Make a service with its servers; the module starts the processes that it needs."""
    with ExitStack() as stack:

        def make(
            settings: Mapping[str, str] | None = None,
            *,
            redis_url: str | None = None,
            **gateway: Any,
        ) -> Service:
            if redis_url is None:
                flush(redis_server.url)
                stack.callback(flush, redis_server.url)
            config: dict[str, Any] = {
                "duplicates": Duplicates.PAY,
                "pay_after": 0.2,
                "callback_scale": 0.02,
                "silence_seconds": 4,
            }
            return stack.enter_context(
                service(
                    stack.enter_context(fresh_database(postgres, template_database)),
                    redis_url or redis_server.url,
                    tmp_path_factory.mktemp("logs"),
                    SandboxConfig(**config | gateway),
                    SHORT | {"BROKER_ATOMIC_FETCH": broker_atomic_fetch} | dict(settings or {}),
                )
            )

        yield make


@pytest.fixture(scope="module")
def full_service(make_service: MakeService) -> Service:
    """The whole service, running: worker, beat, webhook."""
    running = make_service()
    running.start_webhook()
    running.start_beat()
    running.start_worker()
    return running
