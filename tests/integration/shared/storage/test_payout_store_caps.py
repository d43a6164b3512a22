"""The sums by the hour: what the cap of a day is told was sent is what was sent."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from shared.domain import lifecycle, reports
from shared.domain.gateway import NeverSent
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.storage.payout_store import ConcurrentUpdate, Decide, PayoutStore
from tests.support.factories import make_report, make_service_payout

BEGIN = datetime(2026, 11, 23, 12, 17, tzinfo=UTC)
DAY = timedelta(hours=24)
POLICY = Policy()


class Shop:
    """Payouts of one currency that are claimed under a cap, by one or more processes."""

    def __init__(self, engine: Engine) -> None:
        self.stores = [PayoutStore(engine), PayoutStore(engine)]
        self.now = BEGIN
        self.count = 0

    def queued(self, amount: str = "10.00", **changes: object) -> PayoutState:
        """A new payout."""
        self.count += 1
        payout = make_service_payout(f"o-{self.count}", self.now, amount=Decimal(amount), **changes)
        [stored] = self.stores[0].insert([lifecycle.accept_queued(payout, now=self.now)])
        assert stored is not None
        return stored

    def claim(self, payout: PayoutState, process: int = 0) -> tuple[PayoutState, Decimal]:
        """Claim it; also what the cap was told."""
        told: list[Decimal] = []

        def decide(fresh: PayoutState, sent: Decimal) -> Transition | None:
            told.append(sent)
            return lifecycle.claim_for_submission(
                fresh, claim_id="c", now=self.now, policy=POLICY, sent_today=sent
            )

        after = self.stores[process].update_within_cap(payout, self.now - DAY, decide)
        assert after is not None
        return after, told[0]

    def claim_uncapped(self, payout: PayoutState) -> None:
        """As a worker does that has no cap."""
        self.change(
            payout,
            lambda fresh: lifecycle.claim_for_submission(
                fresh, claim_id="c", now=self.now, policy=POLICY
            ),
        )

    def end(self, payout: PayoutState, code: str) -> None:
        """EPAY's callback ends it."""
        report = make_report(code, "callback", payout=payout)
        self.change(
            payout,
            lambda fresh: reports.on_callback(
                fresh, report, now=self.now, policy=POLICY, jitter=0.0
            ),
        )

    def never_sent(self, payout: PayoutState) -> None:
        """The request of its claim did not leave."""
        self.change(
            payout,
            lambda fresh: lifecycle.on_create_answer(
                fresh,
                NeverSent("connection refused"),
                claim_id="c",
                now=self.now,
                policy=POLICY,
                jitter=0.0,
            ),
        )

    def change(self, payout: PayoutState, decide: Decide) -> None:
        self.stores[0].update(payout.id, decide)

    def sent(self, process: int = 0) -> Decimal:
        """What the cap is told now."""
        told: list[Decimal] = []
        payout = self.queued()
        self.stores[process].update_within_cap(
            payout, self.now - DAY, lambda _payout, sent: told.append(sent)
        )
        return told[0]


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)


def test_what_was_sent_is_summed_up_and_what_was_not_is_given_back(shop: Shop) -> None:
    """In the hour of the send, however late the end comes."""
    payouts = [shop.claim(shop.queued())[0] for _ in range(5)]
    assert shop.sent() == Decimal("50.00")
    shop.now += timedelta(hours=3)
    for payout, code in zip(payouts, ("7", "6", "5", "8", "20"), strict=True):
        shop.end(payout, code)
    assert shop.sent() == Decimal("30.00")
    sent, _ = shop.claim(shop.queued())
    shop.never_sent(sent)
    assert shop.sent() == Decimal("30.00")
    assert shop.claim(sent)[0].status is Status.SUBMITTING
    assert shop.sent() == Decimal("40.00")


def test_the_window_is_a_day_to_the_second(shop: Shop) -> None:
    """Not to the hour: the payouts of the hour that leaves are counted one by one."""
    for minutes in (0, 20, 30, 60):
        shop.now = BEGIN + timedelta(minutes=minutes)
        shop.claim(shop.queued())
    left = []
    for minutes in (0, 19, 20, 30, 31, 60, 61):
        shop.now = BEGIN + DAY + timedelta(minutes=minutes, seconds=-1)
        left.append(int(shop.sent()))
    assert left == [40, 30, 30, 20, 10, 10, 0]


def test_what_was_sent_while_no_cap_was_set_is_counted(shop: Shop, engine: Engine) -> None:
    """By each process that starts, and by one that runs from the next hour on."""
    shop.claim_uncapped(shop.queued())
    assert shop.sent(process=0) == Decimal("10.00")
    shop.claim_uncapped(shop.queued())
    assert shop.sent(process=1) == Decimal("20.00")
    shop.claim_uncapped(shop.queued())
    shop.now += timedelta(hours=1)
    assert shop.sent(process=0) == Decimal("30.00")
    with engine.connect() as connection:
        hours = connection.execute(text("SELECT count(*) FROM payout_cap_sum")).scalar_one()
    assert hours == 1


def test_a_claim_that_is_rolled_back_adds_nothing(shop: Shop) -> None:
    """The sum is kept in the claim's own transaction."""
    shop.claim(shop.queued())
    payout = shop.queued()

    def stale(fresh: PayoutState, _sent: Decimal) -> Transition | None:
        other = replace(fresh, sequence=fresh.sequence + 1)
        return lifecycle.claim_for_submission(other, claim_id="c", now=shop.now, policy=POLICY)

    with pytest.raises(ConcurrentUpdate):
        shop.stores[0].update_within_cap(payout, shop.now - DAY, stale)
    assert shop.sent() == Decimal("10.00")


def test_other_accounts_and_currencies_are_not_counted(shop: Shop) -> None:
    """Each has its own sum."""
    shop.claim(shop.queued(currency="EUR"))
    shop.claim(shop.queued(epay_account="other@epay.com"))
    shop.claim(shop.queued("2.50"))
    assert shop.sent() == Decimal("2.50")


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_are_summed_up_exactly(shop: Shop, engine: Engine, seed: int) -> None:
    """Two processes over two days: each claim is told what a scan of the table finds."""
    choose = random.Random(seed)
    open_payouts: list[PayoutState] = []
    scan = text(
        "SELECT coalesce(sum(amount), 0) FROM payout WHERE currency = 'USD'"
        " AND first_sent_at > :since AND status NOT IN ('rejected', 'failed', 'cancelled')"
    )
    for _ in range(60):
        shop.now += timedelta(minutes=choose.choice((0, 1, 20, 90)))
        with engine.connect() as connection:
            expected = connection.execute(scan, {"since": shop.now - DAY}).scalar_one()
        match choose.randrange(4):
            case 0 if open_payouts:
                shop.end(open_payouts.pop(), choose.choice(("5", "6", "7", "8", "20")))
            case 1 if open_payouts:
                shop.never_sent(open_payouts.pop())
            case _:
                payout = shop.queued(f"{choose.randint(1, 900)}.{choose.randint(10, 99)}")
                claimed, told = shop.claim(payout, choose.randrange(2))
                assert told == expected
                open_payouts.append(claimed)
