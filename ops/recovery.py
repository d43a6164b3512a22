"""After the database went back in time: ask EPAY about everything that is not final (law 11)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.clock import utcnow
from shared.domain import reports
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.storage.payout_store import PayoutStore

AskMany = Callable[[Iterable[str]], Iterable[OrderAnswer]]


@dataclass
class Findings:
    """What EPAY said, counted."""

    asked: int = 0
    unanswered: int = 0
    absent: Counter[Status] = field(default_factory=Counter)
    """By the status of those that EPAY does not show."""
    moved: Counter[tuple[Status, Status]] = field(default_factory=Counter)
    """Payouts that EPAY has, by the status before and after."""
    lost: list[str] = field(default_factory=list)
    """Order numbers that were queued here, and that EPAY has."""


@dataclass(frozen=True)
class Recovery:
    """Asks EPAY page by page, and records each answer like that of a query."""

    store: PayoutStore
    ask_many: AskMany
    """Queries EPAY for orders; a failure is an answer too."""
    policy: Policy
    findings: Findings = field(default_factory=Findings)
    clock: Callable[[], datetime] = utcnow

    def ask(self, orders: Mapping[int, str]) -> bool:
        """Ask about these payouts (id -> order number); False: EPAY answered none of them."""
        asked_at = self.clock()
        answers = dict(zip(orders, self.ask_many(orders.values()), strict=True))
        before: dict[int, PayoutState] = {}

        def decide(payout: PayoutState) -> Transition | None:
            before[payout.id] = payout
            return reports.on_query_answer(
                payout,
                answers[payout.id],
                asked_at=asked_at,
                now=self.clock(),
                policy=self.policy,
                jitter=0.0,
            )

        for after in self.store.update_many(list(answers), decide):
            self._count(before[after.id], after, answers[after.id])
        return any(not isinstance(one, NeverSent | OutcomeUnknown) for one in answers.values())

    def _count(self, before: PayoutState, after: PayoutState, answer: OrderAnswer) -> None:
        self.findings.asked += 1
        match answer:
            case Report():
                self.findings.moved[before.status, after.status] += 1
                if before.status is Status.QUEUED and after.status is not Status.QUEUED:
                    self.findings.lost.append(after.merchant_order_no)
            case NeverSent() | OutcomeUnknown():
                self.findings.unanswered += 1
            case _:
                self.findings.absent[before.status] += 1
