"""The totals of a day per status and currency: of our rows, and of EPAY's answers.

The sums are those of the payouts accepted on the day, so that each payout is in the sums of one day
only; those that were accepted earlier and ended on the day are compared, and counted apart.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from ops.daily_reconciliation.compare_day import Line
from shared.domain.daily_reconciliation import Verdict, day_bounds
from shared.domain.gateway import Refused, Report
from shared.domain.transitions import status_from_epay

NO_ORDER = "no such order"
NO_ANSWER = "not answered"


@dataclass(slots=True)
class Sum:
    """A count of payouts, with the sums of their amounts and fees."""

    count: int = 0
    amount: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)

    def add(self, amount: Decimal | None, fee: Decimal | None) -> None:
        """Count one."""
        self.count += 1
        self.amount += amount or 0
        self.fee += fee or 0


@dataclass(slots=True)
class DayTotals:
    """The totals, and the lines that did not agree."""

    day: date
    by: dict[tuple[str, str], tuple[Sum, Sum]] = field(default_factory=dict)
    """(status, currency) -> our sum and EPAY's."""
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    not_agreed: list[Line] = field(default_factory=list)
    """The lines that differ or were not answered."""
    accepted_earlier: int = 0
    """How many of the payouts compared ended on the day and are not in the sums."""

    def add(self, line: Line) -> None:
        """Count a payout."""
        begin, _ = day_bounds(self.day)
        if line.payout.created_at < begin:
            self.accepted_earlier += 1
        else:
            self._add_to_sums(line)
        self.verdicts[line.compared.verdict] += 1
        if line.compared.verdict is not Verdict.AGREED:
            self.not_agreed.append(line)

    def _add_to_sums(self, line: Line) -> None:
        payout = line.payout
        ours, _ = self._of(payout.status.value, payout.currency)
        ours.add(payout.amount, payout.fee)
        status, currency = _at_epay(line)
        _, theirs = self._of(status, currency)
        if isinstance(line.answer, Report):
            theirs.add(line.answer.amount, line.answer.fee)
        else:
            theirs.add(None, None)

    def of(self, verdict: Verdict) -> list[Line]:
        """The lines of a verdict; agreed lines are not kept."""
        return [line for line in self.not_agreed if line.compared.verdict is verdict]

    def _of(self, status: str, currency: str) -> tuple[Sum, Sum]:
        return self.by.setdefault((status, currency), (Sum(), Sum()))


def _at_epay(line: Line) -> tuple[str, str]:
    """The status, in our terms, and the currency of EPAY's side."""
    match line.answer:
        case Report(status=status, currency=currency):
            return status_from_epay(status or "").value, currency or "-"
        case Refused() if line.compared.verdict is not Verdict.UNANSWERED:
            return NO_ORDER, line.payout.currency
        case _:
            return NO_ANSWER, line.payout.currency
