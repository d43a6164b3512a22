"""Which networks may send callbacks, and how many invalid ones each sender may send."""

from __future__ import annotations

import structlog
from flask import Request

from shared.config.settings import Settings
from shared.redis_client import RedisClient
from webhook.client_ip import Address, ProxyChain, bucket, is_in
from webhook.rate_limit import SharedLimit

log = structlog.get_logger(__name__)


class SourcePolicy:
    """Allows or limits senders by their IP address."""

    def __init__(self, settings: Settings, redis: RedisClient) -> None:
        self._chain = ProxyChain(settings.trusted_proxies)
        self._allowed = settings.callback_allowed_networks
        self._failures = SharedLimit(redis, settings.callback_rate_limit, "failures")

    def is_allowed(self, request: Request) -> bool:
        """Whether callbacks from this address are read; all are if no networks are configured."""
        return not self._allowed or is_in(self._client(request), self._allowed)

    def failed_too_often(self, request: Request) -> bool:
        """Count an invalid callback; returns whether its sender is over the limit."""
        sender = bucket(self._client(request))
        if self._failures.is_full(sender):
            return True
        if self._failures.hit(sender):
            return False
        log.warning("callbacks_limited", sender=sender)
        return True

    def _client(self, request: Request) -> Address | None:
        forwarded = request.headers.get("X-Forwarded-For", "")
        return self._chain.client(request.remote_addr, forwarded)
