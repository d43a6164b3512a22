"""Send guards: one without any restriction, and those of a worker process."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.config.settings import Settings
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState
from shared.epay.client import EpayClient
from shared.redis_client import RedisClient
from shared.storage import pauses
from worker.context import QueryPool
from worker.send_guard.factory import make_acquire, make_rate_limiter, make_send_guard
from worker.send_guard.guard import SendGuard
from worker.send_guard.permit import CheckResult, Permit

if TYPE_CHECKING:
    from tests.integration.conftest import World

MAX_WAIT = timedelta(seconds=5)


class AllowAll(SendGuard, Permit):
    """A send guard and a permit in one, without any restriction."""

    def __init__(self) -> None:
        pass

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        return self

    def recover_permit(self, payout: PayoutState) -> Permit:
        return self

    def confirm(self) -> str | None:
        return None

    def record(self, answer: OrderAnswer) -> None:
        pass

    def release(self) -> None:
        pass


def give_guard(
    world: World,
    redis: RedisClient,
    accounts: ConfiguredAccounts | None = None,
    **settings: Any,
) -> SendGuard:
    """Give the world the send guard of a worker process, and the rate limit of its queries."""
    made = Settings(_env_file=None, redis_url="redis://x", **settings)
    limiter = make_rate_limiter(made, redis)
    client = world.context.gateway
    assert isinstance(client, EpayClient)
    guard = make_send_guard(
        made, lambda: pauses.active(world.engine), redis, client.limit, limiter, accounts
    )
    pool = QueryPool(client, 8, make_acquire(limiter))
    world.context = replace(world.context, send_guard=guard, query_many=pool)
    return guard


def permit_for(guard: SendGuard, payout: PayoutState) -> Permit:
    """The permit to send the payout now."""
    permit = guard.check(payout, max_wait=MAX_WAIT)
    assert isinstance(permit, Permit)
    return permit
