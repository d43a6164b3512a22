"""EPAY's limits for one payout: what is cached, asked again, and violated."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from shared.domain.gateway import Failure, Limit, NeverSent, OutcomeUnknown, Refused
from tests.support.factories import make_payout
from tests.support.fake_redis import Clock
from worker.send_guard.amount_limits import AmountLimits, LimitUnknown


class Epay:
    """Answers getLimit."""

    def __init__(self) -> None:
        self.answer: Limit | Failure = Limit(Decimal(10), Decimal(500))
        self.asked: list[tuple[str, str, str | None]] = []

    def limit(
        self, currency: str, category: str, channel_code: str | None = None
    ) -> Limit | Failure:
        self.asked.append((currency, category, channel_code))
        return self.answer


@pytest.fixture
def epay() -> Epay:
    return Epay()


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def limits(epay: Epay, clock: Clock) -> AmountLimits:
    return AmountLimits(epay.limit, lambda: True, category="BANK", cache_seconds=60, clock=clock)


@pytest.mark.parametrize(
    ("amount", "is_violated"), [("9.99", True), ("10", False), ("500.00", False), ("500.01", True)]
)
def test_amount_outside_is_a_violation(
    limits: AmountLimits, epay: Epay, amount: str, is_violated: bool
) -> None:
    """Either end of the range is EPAY's to decide."""
    text = limits.violation(make_payout(amount=Decimal(amount)), may_ask=True)
    assert epay.asked == [("USD", "BANK", "11")]
    assert text == (
        f"{amount} USD is outside EPAY's limit: EPAY's limit is 10 to 500 USD for channel 11"
        if is_violated
        else None
    )


def test_limit_is_cached_per_account_currency_and_channel(
    limits: AmountLimits, epay: Epay, clock: Clock
) -> None:
    payouts = [
        make_payout(),
        make_payout(currency="EUR"),
        make_payout(channel_code="12"),
        make_payout(epay_account="other@example.com"),
    ]
    for _ in range(2):
        for payout in payouts:
            limits.violation(payout, may_ask=True)
    assert len(epay.asked) == 4
    clock.now += 59.9
    limits.violation(payouts[0], may_ask=False)
    clock.now += 0.2
    with pytest.raises(LimitUnknown):
        limits.violation(payouts[0], may_ask=False)
    limits.violation(payouts[0], may_ask=True)
    assert len(epay.asked) == 5


@pytest.mark.parametrize(
    "answer", [Refused("1005", "no"), NeverSent("refused"), OutcomeUnknown("read timeout")]
)
def test_unknown_limit_is_not_asked_for_again_at_once(
    limits: AmountLimits, epay: Epay, clock: Clock, answer: Failure
) -> None:
    """Five seconds, and the payout waits: no amount is called allowed or wrong meanwhile."""
    epay.answer = answer
    for _ in range(3):
        with pytest.raises(LimitUnknown):
            limits.violation(make_payout(), may_ask=True)
    assert len(epay.asked) == 1
    epay.answer = Limit(Decimal(0), Decimal(100))
    clock.now += 5.1
    assert limits.violation(make_payout(), may_ask=True) is None


def test_epay_is_asked_only_if_it_may_be(epay: Epay, clock: Clock) -> None:
    """And if the rate limit allows it."""
    limits = AmountLimits(epay.limit, lambda: False, category="BANK", cache_seconds=60, clock=clock)
    for may_ask in (False, True):
        with pytest.raises(LimitUnknown):
            limits.violation(make_payout(), may_ask=may_ask)
    assert epay.asked == []


def test_one_thread_asks_and_the_others_wait(epay: Epay, clock: Clock) -> None:
    everybody_is_here = threading.Barrier(8)
    limits = AmountLimits(epay.limit, lambda: True, category="BANK", cache_seconds=60, clock=clock)

    def check(_: int) -> str | None:
        everybody_is_here.wait(60)
        return limits.violation(make_payout(), may_ask=True)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(check, range(8))) == [None] * 8
    assert len(epay.asked) == 1
