"""EPAY's amount limits, asked of the sandbox gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from sandbox.server import Gateway
from sandbox.settings import SandboxConfig
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.redis_client import RedisClient
from tests.support.jobs import of_ledger, put_unknown
from tests.support.send_guard import MAX_WAIT, give_guard, permit_for
from worker.send_guard.permit import Defer, Reject

if TYPE_CHECKING:
    from tests.integration.conftest import World

LIMITED = "USD=10:500,EUR=0:9999999"


@pytest.fixture
def limiting(world: World) -> Iterator[World]:
    """EPAY takes 10 to 500 USD."""
    with Gateway(SandboxConfig(limits=LIMITED, pay_after=0.05)) as gateway:
        client = EpayClient(
            EpayConfig(
                base_url=gateway.base_url,
                account="test2020@epay.com",
                api_key=SecretStr("TESTKEY123"),
                connect_timeout=30,
                read_timeout=30,
                total_timeout=60,
            )
        )
        world.gateway = gateway
        world.context = replace(world.context, gateway=client)
        yield world
        client.close()


def count_limit_requests(world: World) -> int:
    return [call for _, call, _ in world.gateway.log.since(0)].count("getLimit")


@pytest.mark.parametrize("amount", ["9.99", "500.01"])
def test_an_amount_outside_is_rejected_with_the_limit(
    limiting: World, connect: Callable[[], RedisClient], amount: str
) -> None:
    give_guard(limiting, connect(), epay_check_limits="on")
    assert limiting.ask(amount=amount)["status"] == "rejected"
    words = f"{amount} USD is outside EPAY's limit: EPAY's limit is 10 to 500 USD for channel 11"
    assert limiting.row().refusal == words
    assert of_ledger(limiting)["creates_received"] == 0


@pytest.mark.parametrize("amount", ["10", "500"])
def test_an_end_of_the_range_is_for_epay_to_decide(
    limiting: World, connect: Callable[[], RedisClient], amount: str
) -> None:
    """Not documented whether it belongs to the range."""
    give_guard(limiting, connect(), epay_check_limits="on")
    assert limiting.ask(amount=amount)["status"] == "processing"


def test_a_process_asks_for_a_limit_once_in_its_time(
    limiting: World, connect: Callable[[], RedisClient]
) -> None:
    """Once per process, currency and channel, also if many threads need it at the same moment."""
    for nth in range(3):
        give_guard(limiting, connect(), epay_check_limits="on", epay_limit_cache_seconds=60)
        with ThreadPoolExecutor(8) as pool:
            asked = list(pool.map(limiting.ask, [f"order-{nth}-{each}" for each in range(8)]))
        assert {each["status"] for each in asked} == {"processing"}
        assert count_limit_requests(limiting) == nth + 1
    limiting.ask("euro", currency="EUR")
    limiting.ask("advcash", channel_code="12")
    assert count_limit_requests(limiting) == 5


def test_a_limit_is_asked_for_again_when_its_time_is_over(
    limiting: World, connect: Callable[[], RedisClient]
) -> None:
    give_guard(limiting, connect(), epay_check_limits="on", epay_limit_cache_seconds=0.5)
    limiting.ask("order-1")
    time.sleep(0.6)
    limiting.ask("order-2")
    assert count_limit_requests(limiting) == 2


def test_a_limit_that_epay_does_not_tell_lets_the_payout_wait(
    limiting: World, connect: Callable[[], RedisClient]
) -> None:
    """Refused, or EPAY away: queued, nothing is sent, nothing rejected; it asks again later."""
    guard = give_guard(limiting, connect(), epay_check_limits="on")
    assert limiting.ask("refused", currency="GBP")["status"] == "queued"
    limiting.gateway.set_faults(down_seconds=600)
    assert limiting.ask("away")["status"] == "queued"
    for no in ("refused", "away"):
        assert limiting.row(no).due_at is not None
        assert limiting.row(no).review_reason is None
        assert limiting.row(no).attempts == 0
    assert isinstance(guard.check(limiting.row("away"), max_wait=MAX_WAIT), Defer)
    limiting.gateway.clear_faults()
    give_guard(limiting, connect(), epay_check_limits="on")
    assert limiting.ask("back")["status"] == "processing"


def test_what_was_sent_before_is_not_held_against_a_limit(
    limiting: World, connect: Callable[[], RedisClient]
) -> None:
    """EPAY may have it: only a payout never sent can be rejected for its amount."""
    guard = give_guard(limiting, connect(), epay_check_limits="on")
    [sent] = put_unknown(limiting, "order-1", amount=Decimal("9.00"))
    permit_for(guard, sent)
    fresh = replace(sent, first_sent_at=None)
    assert isinstance(guard.check(fresh, max_wait=MAX_WAIT), Reject)


def test_a_limit_takes_a_turn_too(limiting: World, connect: Callable[[], RedisClient]) -> None:
    give_guard(limiting, connect(), epay_check_limits="on", epay_max_per_second=2)
    began = time.time()
    assert limiting.ask()["status"] == "processing"
    at = [moment for moment, _, _ in limiting.gateway.log.since(0)]
    assert len(at) == 2
    assert at[1] - began >= 0.45


def test_limits_need_no_redis(limiting: World, unavailable_redis: RedisClient) -> None:
    give_guard(limiting, unavailable_redis, epay_check_limits="on")
    for nth in range(5):
        assert limiting.ask(f"order-{nth}")["status"] == "processing"
    assert count_limit_requests(limiting) == 1
