"""The way from Redis into the worker: what is no message at all is dropped, and stops nothing.

kombu trusts what it finds on its lists: a single entry that is not of its own making ends the
worker that pops it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis
from redis.exceptions import DataError

from worker.broker.channel import AtomicFetchChannel, drop

_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)


class Channel(AtomicFetchChannel):
    """Lends one client to all: kombu makes one for every message and every acknowledgement."""

    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """It holds nothing but the pool, so threads may share it; a new pool gets a new one."""
        if client is None:
            client = self._kept
            if client is None or client.connection_pool is not self.pool:
                client = self._kept = self._create_client()
        yield client


class SentinelChannel(Channel, redis.SentinelChannel):  # type: ignore[misc]
    """The same behind Sentinel."""


class _CarefulTransport:
    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[misc]
        except (*_UNREADABLE, DataError) as error:
            drop(error)


class Transport(_CarefulTransport, redis.Transport):  # type: ignore[misc]
    """For redis:// and rediss://."""

    Channel = Channel


class SentinelTransport(_CarefulTransport, redis.SentinelTransport):  # type: ignore[misc]
    """For sentinel://."""

    Channel = SentinelChannel
