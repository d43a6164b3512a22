"""The way from Redis into the worker: what is no message at all is dropped, and stops nothing.

kombu trusts what it finds on its lists: a single entry that is not of its own making ends the
worker that pops it.
"""

from __future__ import annotations

from typing import Any

import structlog
from kombu.transport import redis
from redis.exceptions import DataError

log = structlog.get_logger(__name__)

_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)


def _drop(error: Exception) -> None:
    log.error("message_refused", reason=f"it is no message ({type(error).__name__})")


class _CarefulChannel:
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
