"""Who sends: whether we listen to that network at all, and how often it was wrong lately."""

from __future__ import annotations

import structlog
from flask import Request

from shared.config.settings import Settings
from webhook.client_ip import Address, ProxyChain, bucket, is_in
from webhook.rate_limit import SharedLimit
from webhook.shared_redis import SharedRedis

log = structlog.get_logger(__name__)


class SourcePolicy:
    """The senders of callbacks, known by their address."""

    def __init__(self, settings: Settings, redis: SharedRedis) -> None:
        self._chain = ProxyChain(settings.trusted_proxies)
        self._allowed = settings.callback_allowed_networks
        self._failures = SharedLimit(redis, settings.callback_rate_limit, "failures")

    def is_allowed(self, request: Request) -> bool:
        """Whether callbacks from there are read; always, where no networks are named."""
        return not self._allowed or is_in(self._client(request), self._allowed)

    def failed_too_often(self, request: Request) -> bool:
        """Count a failure of the sender; whether it had more than its share."""
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
