"""The simulation's store in memory does what the real one does on PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from shared.domain import lifecycle, reports
from shared.domain.absence_proof import Control
from shared.domain.accounts import ConfiguredAccount
from shared.domain.gateway import NeverSent, OutcomeUnknown, Refused, Report
from shared.domain.notifications import Message
from shared.domain.payout import PayoutState, Transition
from shared.domain.policy import Policy
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.simulation.memory_store import MemoryStore
from tests.support.factories import make_payout, make_report

POLICY = Policy(not_found_codes=frozenset({"2001"}), refused_codes=frozenset({"2005"}))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def new(no: str, now: datetime) -> PayoutState:
    return make_payout(
        now, epay_account="shop@epay.com", merchant_order_no=no, amount=Decimal("10.50")
    )


class Pair:
    """Both stores, given the same calls."""

    def __init__(self, store: PayoutStore, seed: int) -> None:
        self.real = store
        self.model = MemoryStore()
        self.random = random.Random(seed)
        self.now = NOW
        self.last: Transition | None = None

    def act(self) -> None:
        """One random call on both; the results must agree."""
        self.now += timedelta(seconds=self.random.choice((0, 1, 40, 700)))
        name = self.random.choice(
            (
                *("accept", "enqueue", "answer", "stale", "callback"),
                *("query", "send", "send_within_cap", "sweep", "relay"),
            )
        )
        getattr(self, f"_{name}")()

    def both(self, call: Callable[[Any], Any]) -> Any:
        real, model = call(self.real), call(self.model)
        assert real == model
        return real

    def _no(self) -> str:
        return f"o-{self.random.randint(1, 4)}"

    def _accept(self) -> None:
        step = lifecycle.accept(
            new(self._no(), self.now), claim_id="c", now=self.now, policy=POLICY
        )
        self.both(lambda store: store.insert([step]))

    def _enqueue(self) -> None:
        step = lifecycle.accept_queued(new(self._no(), self.now), now=self.now)
        self.both(lambda store: store.insert([step]))

    def _answer(self) -> None:
        standing = self.both(self._find(self._no()))
        if standing is None:
            return
        answer = self.random.choice(
            (
                OutcomeUnknown("x"),
                NeverSent("x"),
                Refused("2005", "x"),
                Refused("1", "y"),
                self._report(standing, "1", "create"),
            )
        )
        self.last = lifecycle.on_create_answer(
            standing, answer, claim_id="c", now=self.now, policy=POLICY, jitter=0
        )
        self.both(lambda store: store.apply(self.last))

    def _stale(self) -> None:
        if self.last is not None:
            self.both(lambda store: store.apply(self.last))

    def _callback(self) -> None:
        no, status = self._no(), self.random.choice(("1", "5", "6", "7", "19"))

        def decide(payout: PayoutState) -> Transition:
            report = self._report(payout, status, "callback")
            return reports.on_callback(payout, report, now=self.now, policy=POLICY, jitter=0)

        self.both(lambda store: store.update_by_order_no("shop@epay.com", no, decide))

    def _query(self) -> None:
        def decide(payout: PayoutState) -> Transition | None:
            return reports.on_query_answer(
                payout,
                Refused("2001", "no such order"),
                asked_at=self.now,
                now=self.now,
                policy=POLICY,
                jitter=0,
                control=Control.PASSED,
            )

        ids = [self.random.randint(1, 5) for _ in range(2)]
        lease = self.random.choice((None, self.now))
        self.both(lambda store: store.get_claimed(ids, lease))
        self.both(lambda store: store.get_claimed_keys(ids, lease))
        self.both(
            lambda store: store.newest_ended(ConfiguredAccount("shop@epay.com"), self.now, ids)
        )
        self.both(lambda store: store.update_many(ids, decide))

    def _send(self) -> None:
        def decide(payout: PayoutState) -> Transition | None:
            return lifecycle.claim_for_submission(payout, claim_id="c", now=self.now, policy=POLICY)

        payout_id = self.random.randint(1, 5)
        self.both(lambda store: store.update(payout_id, decide))

    def _send_within_cap(self) -> None:
        standing = self.both(self._find(self._no()))
        if standing is None:
            return
        policy = replace(POLICY, cap_per_day={"USD": Decimal(20)})
        told: list[Decimal] = []

        def decide(payout: PayoutState, sent: Decimal) -> Transition | None:
            told.append(sent)
            return lifecycle.claim_for_submission(
                payout, claim_id="c", now=self.now, policy=policy, sent_today=sent
            )

        since = self.now - timedelta(seconds=600)
        self.both(lambda store: store.update_within_cap(standing, since, decide))
        assert told[0] == told[-1]

    def _sweep(self) -> None:
        def decide(payout: PayoutState) -> Transition | None:
            return lifecycle.on_lease_expired(payout, now=self.now)

        self.both(lambda store: store.expire_leases(self.now, 10, decide))
        until = self.now + POLICY.lease
        self.both(lambda store: sorted(store.claim_due(self.now, until, 10), key=lambda d: d.id))

    def _relay(self) -> None:
        limit = self.random.randint(1, 3)

        def call(store: Any) -> tuple[int, list[Message]]:
            told: list[Message] = []
            return store.relay_outbox(told.append, self.now, limit), told

        self.both(call)

    def _find(self, no: str) -> Callable[[Any], Any]:
        return lambda store: store.find("shop@epay.com", no)

    @staticmethod
    def _report(payout: PayoutState, status: str, source: str) -> Report:
        return make_report(status, source, payout=payout, epay_order_no="E1", fee=None)


@pytest.mark.parametrize("seed", range(12))
def test_the_model_does_what_postgresql_does(database_url: str, seed: int) -> None:
    """Random calls on both stores give the same results and leave the same rows."""
    engine = make_engine(database_url, pool_size=2)
    try:
        with engine.begin() as connection:
            # a refused INSERT uses up an id on PostgreSQL; the model counts rows
            connection.execute(text("ALTER TABLE payout ALTER id SET GENERATED BY DEFAULT"))
        pair = Pair(CountingIds(engine), seed)
        for _ in range(60):
            pair.act()
        for no in ("o-1", "o-2", "o-3", "o-4"):
            pair.both(pair._find(no))
    finally:
        engine.dispose()


class CountingIds(PayoutStore):
    """The real store, with ids that have no gaps."""

    def insert(self, steps: Any) -> Any:
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "SELECT setval(pg_get_serial_sequence('payout', 'id'),"
                    " (SELECT coalesce(max(id), 0) FROM payout) + 1, false)"
                )
            )
        return super().insert(steps)
