"""Fixtures of all tests: PostgreSQL and Redis, started when the first test needs them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.databases import fresh_database, migrated_template
from tests.support.isolation import only_this_machine
from tests.support.servers import (
    PostgresServer,
    RedisServer,
    flush,
    named_hosts,
    named_postgres_url,
    named_redis_url,
    provide_postgres,
    provide_redis,
)

_MAX_PROCESSES = 4
"""Of `pytest -n auto`: each starts a PostgreSQL and a Redis of its own."""


def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: one process per core; one alone if it would share a server named by URL."""
    if named_postgres_url() or named_redis_url():
        return 0
    return min(os.cpu_count() or 1, _MAX_PROCESSES)


@pytest.fixture(scope="session", autouse=True)
def _only_this_machine() -> Iterator[None]:
    """No test connects to another machine."""
    with only_this_machine(named_hosts()):
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL server of TEST_DATABASE_URL or DATABASE_URL, or a local one."""
    with provide_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres: PostgresServer) -> Iterator[str]:
    """The name of the migrated database that is copied for each test."""
    with migrated_template(postgres) as name:
        yield name


@pytest.fixture
def database_url(postgres: PostgresServer, template_database: str) -> Iterator[str]:
    """A database of the test's own, migrated and empty."""
    with fresh_database(postgres, template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> Iterator[str]:
    """A database of the test's own, without any table."""
    with fresh_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis server of TEST_REDIS_URL or REDIS_URL, or a local one."""
    with provide_redis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty Redis database."""
    flush(redis_server.url)
    return redis_server.url
