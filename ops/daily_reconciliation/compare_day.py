"""Querying EPAY for every payout of a day, concurrently and at a limited rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime

from ops.errors import UserError
from shared.clock import utcnow
from shared.domain import daily_reconciliation
from shared.domain.absence_proof import Control
from shared.domain.daily_reconciliation import Comparison
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused
from shared.domain.payout import PayoutState, Transition
from shared.domain.policy import Policy
from shared.storage.daily_reconciliation import ReconciliationStore
from shared.storage.payout_store import PayoutStore
from shared.storage.query_answers import ask_control, record_answers

_ORDERS_READ = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """One payout of the day: our row, EPAY's answer, and how they compare."""

    payout: PayoutState
    """Its state when the answer arrived."""
    answer: OrderAnswer
    compared: Comparison


class Pace:
    """A rate limit with even distances; None: unlimited."""

    def __init__(self, per_second: float | None) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for the next turn."""
        if not self._gap:
            return
        with self._lock:
            turn = max(time.monotonic(), self._next)
            self._next = turn + self._gap
        time.sleep(max(0.0, turn - time.monotonic()))


@dataclass(frozen=True)
class DayComparison:
    """The comparison of a day. No database connection is held during a query."""

    days: ReconciliationStore
    store: PayoutStore
    policy: Policy
    query: Callable[[str], OrderAnswer]
    at_once: int
    """Concurrent queries."""
    record: bool = False
    """Whether differences become events and review reasons, as in the daily comparison."""
    pace: Pace = field(default_factory=lambda: Pace(None))

    def lines(self, day: date, sample: int | None = None) -> Iterator[Line]:
        """Every payout of the day, or of the sample, in order of acceptance.

        Raises:
            UserError: EPAY does not answer.
        """
        last_id, answered = 0, False
        with ThreadPoolExecutor(self.at_once, thread_name_prefix="query") as pool:
            while orders := self.days.orders(day, last_id, _ORDERS_READ, sample):
                last_id = max(orders)
                ids = list(orders)
                for start in range(0, len(ids), self.at_once):
                    part = {one: orders[one] for one in ids[start : start + self.at_once]}
                    asked_at = utcnow()
                    answers = dict(zip(part, pool.map(self._ask, part.values()), strict=True))
                    if not any(map(daily_reconciliation.epay_answered, answers.values())):
                        _require_answers(
                            answers, answered=answered, is_whole=len(part) == self.at_once
                        )
                    answered = True
                    yield from self._compared(part, answers, asked_at)

    def _ask(self, merchant_order_no: str) -> OrderAnswer:
        self.pace.wait()
        return self.query(merchant_order_no)

    def _compared(
        self, orders: Mapping[int, str], answers: Mapping[int, OrderAnswer], asked_at: datetime
    ) -> list[Line]:
        control = self._control_of(answers, asked_at)
        now = utcnow()
        found: dict[int, Line] = {}

        def decide(payout: PayoutState, answer: OrderAnswer) -> Transition | None:
            compared, transition = daily_reconciliation.reconcile(
                payout,
                answer,
                asked_at=asked_at,
                now=now,
                policy=self.policy,
                jitter=0.0,
                control=control,
            )
            found[payout.id] = Line(payout, answer, compared)
            return transition

        if self.record:
            record_answers(self.store, orders, answers, decide)
        else:
            for payout in self.store.get_claimed(list(answers), None):
                decide(payout, answers[payout.id])
        return list(found.values())

    def _control_of(self, answers: Mapping[int, OrderAnswer], asked_at: datetime) -> Control:
        """Ask EPAY for an order that it must know, if it refused one of these (law 12)."""
        refused = [one for one, answer in answers.items() if isinstance(answer, Refused)]
        if not refused:
            return Control.MISSING
        home, records = self.days.account, self.record
        asked = ask_control(
            self.store, home, self._ask, asked_at, self.policy, refused, records=records
        )
        return asked[0]


def _require_answers(answers: Mapping[int, OrderAnswer], *, answered: bool, is_whole: bool) -> None:
    """Stop if the gateway is away; a few orders at the end may have no answer."""
    if answered and not is_whole:
        return
    last = list(answers.values())[-1]
    reason = last.reason if isinstance(last, NeverSent | OutcomeUnknown) else "no answer"
    raise UserError(
        f"EPAY answered none of the last {len(answers)} queries ({reason}). Run `payouts doctor`,"
        " and this command again when the gateway answers."
    )
