"""The budget of callbacks with an invalid signature."""

from __future__ import annotations

import pytest

from shared.redis_client import RedisUnavailable
from tests.support.fake_redis import Clock, FakeRedisServer
from webhook.unverified import UnverifiedCallbackBudget


def test_one_order_is_allowed_once_a_minute(
    fake_redis: FakeRedisServer, redis_clock: Clock
) -> None:
    """Over all processes."""
    budgets = [UnverifiedCallbackBudget(fake_redis.redis_client(), 30) for _ in range(2)]
    assert [budget.allow("order-1") for budget in budgets] == [True, False]
    assert budgets[1].allow("order-2")
    redis_clock.now += 59
    assert not budgets[0].allow("order-1")
    redis_clock.now += 2
    assert budgets[0].allow("order-1")


def test_budget_of_all_orders_is_shared(fake_redis: FakeRedisServer, redis_clock: Clock) -> None:
    budgets = [UnverifiedCallbackBudget(fake_redis.redis_client(), 7) for _ in range(2)]
    assert [budgets[nth % 2].allow(f"order-{nth}") for nth in range(30)].count(True) == 7


def test_repetitions_of_one_order_do_not_use_up_the_budget(
    fake_redis: FakeRedisServer, redis_clock: Clock
) -> None:
    budget = UnverifiedCallbackBudget(fake_redis.redis_client(), 2)
    for _ in range(20):
        budget.allow("order-1")
    assert budget.allow("order-2")


def test_order_beyond_the_budget_leaves_no_key_while_the_budget_is_known_to_be_used_up(
    fake_redis: FakeRedisServer, redis_clock: Clock
) -> None:
    """A flood of forged order numbers fills no Redis."""
    budget = UnverifiedCallbackBudget(fake_redis.redis_client(Clock(50.0)), 1)
    for nth in range(100):
        budget.allow(f"order-{nth}")
    assert len(list(fake_redis.client.scan_iter("payouts:hint:*"))) == 2


def test_budget_of_zero_asks_no_redis(fake_redis: FakeRedisServer) -> None:
    budget = UnverifiedCallbackBudget(fake_redis.redis_client(), 0)
    fake_redis.connected = False
    assert not budget.allow("order-1")


def test_outage_is_raised(fake_redis: FakeRedisServer) -> None:
    """Then the webhook answers 503, and EPAY sends the callback again."""
    fake_redis.connected = False
    budget = UnverifiedCallbackBudget(fake_redis.redis_client(), 30)
    for _ in range(2):
        with pytest.raises(RedisUnavailable):
            budget.allow("order-1")
