"""The budget of callbacks with an invalid signature that may bring a status query forward.

EPAY itself may send a callback that cannot be verified (epay-gateway section 5), so it triggers an
early query. Anyone can forge one: it is limited to one a minute per order, and globally.
"""

from __future__ import annotations

from shared.redis_client import RedisClient
from webhook.rate_limit import SharedLimit

_ORDER_SECONDS = 60


class UnverifiedCallbackBudget:
    """Limits unverified callbacks over all webhook processes together."""

    def __init__(self, redis: RedisClient, per_minute: int) -> None:
        self._redis = redis
        self._budget = SharedLimit(redis, f"{per_minute}/minute", "hints") if per_minute else None

    def allow(self, merchant_order_no: str) -> bool:
        """Whether an unverified callback for this order may be published.

        Raises:
            RedisUnavailable: the budget cannot be read.
        """
        if self._budget is None or self._budget.is_full():
            return False
        key, client = f"payouts:hint:{merchant_order_no}", self._redis.client
        is_first = self._redis.run(lambda: client.set(key, 1, nx=True, ex=_ORDER_SECONDS))
        return bool(is_first) and self._budget.hit()
