"""After the database went back in time: ask EPAY about everything that is not final (law 11)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.clock import utcnow
from shared.domain import reports
from shared.domain.absence_proof import Control
from shared.domain.accounts import ConfiguredAccount
from shared.domain.daily_reconciliation import epay_answered
from shared.domain.gateway import OrderAnswer, Refused, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.storage.payout_store import PayoutStore
from shared.storage.query_answers import ask_control, record_answers

AskMany = Callable[[Iterable[str]], Iterable[OrderAnswer]]

_MAY_BE_SENT = {Status.QUEUED, Status.SUBMITTING}
_NO_PROOF = "EPAY refuses it; with no payout yet that EPAY ended, this proves nothing"
_REFUSALS = {
    Control.PASSED: "EPAY refuses it, with a code that is not in EPAY_NOT_FOUND_CODES",
    Control.MISSING: _NO_PROOF,
    Control.REFUSED: "EPAY refuses it, and an order that it must know too",
    Control.UNANSWERED: "EPAY refuses it, and gives no answer about an order that it must know",
}


@dataclass
class Findings:
    """What EPAY said, counted."""

    asked: int = 0
    not_moved: Counter[tuple[Status, str]] = field(default_factory=Counter)
    """Payouts that EPAY does not show: by status, and what it said."""
    moved: Counter[tuple[Status, Status]] = field(default_factory=Counter)
    """Payouts that EPAY has, by the status before and after."""
    lost: list[str] = field(default_factory=list)
    """Order numbers that were queued here, and that EPAY has."""
    undecided: int = 0
    """Payouts that could be sent, and about which EPAY gave no answer that counts."""
    elsewhere: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Order numbers that were not asked about, by the reason: an account that is missing here."""


@dataclass(frozen=True)
class Recovery:
    """Asks EPAY about payouts of one account, and records each answer like that of a query."""

    store: PayoutStore
    account: ConfiguredAccount
    ask_many: AskMany
    """Queries EPAY for orders; a failure is an answer too."""
    policy: Policy
    findings: Findings = field(default_factory=Findings)
    clock: Callable[[], datetime] = utcnow

    def ask(self, orders: Mapping[int, str]) -> str | None:
        """Ask about these payouts (id -> order number); returns why to stop, or None."""
        asked_at = self.clock()
        answers = dict(zip(orders, self.ask_many(orders.values()), strict=True))
        refused = [one for one, answer in answers.items() if isinstance(answer, Refused)]
        control, refusal = Control.MISSING, ""
        if refused:
            control, refusal = ask_control(
                self.store, self.account, self._ask_one, asked_at, self.policy, refused
            )
        before: dict[int, PayoutState] = {}

        def decide(payout: PayoutState, answer: OrderAnswer) -> Transition | None:
            before[payout.id] = payout
            return reports.on_query_answer(
                payout,
                answer,
                asked_at=asked_at,
                now=self.clock(),
                policy=self.policy,
                jitter=0.0,
                control=control,
            )

        for after in record_answers(self.store, orders, answers, decide):
            if after.id in before:
                self._count(before[after.id], after, answers[after.id], control)
            else:
                self.findings.undecided += 1  # the database went back once more
        if refusal:
            return refusal
        return None if any(map(epay_answered, answers.values())) else "EPAY does not answer"

    def _ask_one(self, merchant_order_no: str) -> OrderAnswer:
        return next(iter(self.ask_many([merchant_order_no])))

    def _count(
        self, before: PayoutState, after: PayoutState, answer: OrderAnswer, control: Control
    ) -> None:
        found = self.findings
        found.asked += 1
        match answer:
            case Report():
                found.moved[before.status, after.status] += 1
                if before.status is Status.QUEUED and after.status is not Status.QUEUED:
                    found.lost.append(after.merchant_order_no)
                return
            case Refused(code):
                is_absent = control is Control.PASSED and code in self.policy.not_found_codes
                words = "EPAY does not show it" if is_absent else _REFUSALS[control]
                is_decided = control in {Control.PASSED, Control.MISSING}
            case _:
                words, is_decided = "no answer", False
        found.not_moved[before.status, words] += 1
        if not is_decided and before.status in _MAY_BE_SENT:
            found.undecided += 1
