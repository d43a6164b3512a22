"""Which callbacks that are not believed are worth a look at the payout that they name.

A true callback may be unverifiable (epay-gateway section 5), so it brings the next query forward.
Anybody can forge one: once a minute for an order, and only so many a minute for all orders.
"""

from __future__ import annotations

from webhook.rate_limit import SharedLimit
from webhook.shared_redis import SharedRedis

_ORDER_SECONDS = 60


class UnverifiedCallbackBudget:
    """The budget of hints, of all webhook processes together."""

    def __init__(self, redis: SharedRedis, per_minute: int) -> None:
        self._redis = redis
        self._budget = SharedLimit(redis, f"{per_minute}/minute", "hints") if per_minute else None

    def allow(self, merchant_order_no: str) -> bool:
        """Whether a callback for this order may go to the workers though it is not believed.

        Raises:
            BrokerAway: Redis cannot say.
        """
        if self._budget is None or self._budget.is_full():
            return False
        return self._is_first(merchant_order_no) and self._budget.hit()

    def _is_first(self, merchant_order_no: str) -> bool:
        key = f"payouts:hint:{merchant_order_no}"
        return bool(
            self._redis.run(lambda: self._redis.client.set(key, 1, nx=True, ex=_ORDER_SECONDS))
        )
