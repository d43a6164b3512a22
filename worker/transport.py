"""The way from Redis into the worker: what is no message at all is dropped, and stops nothing.

kombu trusts what it finds on its lists: a single entry that is not of its own making ends the
worker that pops it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from kombu.transport import redis
from redis.exceptions import DataError

log = structlog.get_logger(__name__)

_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)


def _drop(error: Exception) -> None:
    log.error("message_refused", reason=f"it is no message ({type(error).__name__})")


class _CarefulChannel:
    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Lend one client to all: kombu makes one for every message and every acknowledgement.

        A client holds nothing but the pool, so threads may share it; a new pool gets a new one.
        """
        if client is None:
            client = self._kept
            if client is None or client.connection_pool is not self.pool:  # type: ignore[attr-defined]
                client = self._kept = self._create_client()  # type: ignore[attr-defined]
        yield client

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except (ValueError, RecursionError) as error:  # it is no JSON
            _drop(error)
            return True


class _CarefulTransport:
    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[misc]
        except (*_UNREADABLE, DataError) as error:
            _drop(error)


class Channel(_CarefulChannel, redis.Channel):
    """A channel that outlives what is no JSON."""


class Transport(_CarefulTransport, redis.Transport):  # type: ignore[misc]
    """For redis:// and rediss://."""

    Channel = Channel


class SentinelChannel(_CarefulChannel, redis.SentinelChannel):
    """The same behind Sentinel."""


class SentinelTransport(_CarefulTransport, redis.SentinelTransport):  # type: ignore[misc]
    """For sentinel://."""

    Channel = SentinelChannel
