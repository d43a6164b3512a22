"""PostgreSQL and Redis for a test run: local ones, or those named by URL."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import redis

from devstack import orphan_reaper
from devstack.databases import PostgresServer
from devstack.postgres import LocalPostgres
from devstack.redis import LocalRedis

MAX_CONNECTIONS = "200"
_MEMORY_BYTES = 2**31


class RedisServer(Protocol):
    """A Redis server whose database the tests flush."""

    @property
    def url(self) -> str: ...


class NamedPostgres(PostgresServer):
    """The server of TEST_DATABASE_URL. The tests touch no database but those they create."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url


@dataclass(frozen=True)
class NamedRedis:
    """The server of TEST_REDIS_URL."""

    url: str


def named_postgres_url() -> str | None:
    """TEST_DATABASE_URL, or else DATABASE_URL."""
    return os.environ.get("TEST_DATABASE_URL") or os.environ.get("DATABASE_URL") or None


def named_redis_url() -> str | None:
    """TEST_REDIS_URL, or else REDIS_URL."""
    return os.environ.get("TEST_REDIS_URL") or os.environ.get("REDIS_URL") or None


def named_hosts() -> set[str]:
    """The hosts of the servers that were named."""
    urls = [url for url in (named_postgres_url(), named_redis_url()) if url]
    return {host for url in urls if (host := urlsplit(url).hostname)}


@contextmanager
def provide_postgres() -> Iterator[PostgresServer]:
    """The named server, or one of our own. It syncs its writes, as the startup checks demand."""
    if url := named_postgres_url():
        yield NamedPostgres(url)
        return
    settings = {"max_connections": MAX_CONNECTIONS}
    with _folder_in_memory() as folder, LocalPostgres(folder, settings=settings) as server:
        yield server


@contextmanager
def _folder_in_memory() -> Iterator[Path | None]:
    """A folder where a sync costs nothing; None where the system has none of enough size."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < _MEMORY_BYTES:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="payouts-", dir=memory))
    orphan_reaper.watch(folder)
    try:
        folder.chmod(0o755)  # the server runs as another user if this is root
        yield folder
    finally:
        orphan_reaper.release(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def provide_redis() -> Iterator[RedisServer]:
    """The named server, if its database is empty, or one of our own.

    Raises:
        RuntimeError: the named database holds something; a broker in use is never flushed.
    """
    if not (url := named_redis_url()):
        with LocalRedis() as server:
            yield server
        return
    with redis.Redis.from_url(url) as client:
        if keys := client.dbsize():
            raise RuntimeError(
                f"REDIS_URL names a database with {keys} keys, and the tests flush it: name an "
                "empty one in TEST_REDIS_URL, or none for a server of their own"
            )
        yield NamedRedis(url)
        client.flushdb()


def flush(url: str) -> None:
    """Empty one Redis database."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()
