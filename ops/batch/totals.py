"""The totals of a batch: rows per verdict, sums per currency and channel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ops.batch.row_validation import Line, RowVerdict


@dataclass
class Total:
    """A number of payouts, and the sum of their amounts."""

    payouts: int = 0
    amount: Decimal = Decimal(0)


@dataclass
class Totals:
    """Counts and sums."""

    rows: int = 0
    counts: Counter[RowVerdict] = field(default_factory=Counter)
    sums: dict[tuple[RowVerdict, str, str], Total] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Count one more row; the sums leave bad rows out."""
        self.rows += 1
        self.counts[line.verdict] += 1
        if line.payout is not None and line.verdict is not RowVerdict.BAD:
            key = (line.verdict, line.payout.currency, line.payout.channel_code)
            total = self.sums.setdefault(key, Total())
            total.payouts += 1
            total.amount += line.payout.amount

    def as_rows(self) -> list[dict[str, Any]]:
        """The sums, sorted."""
        return [
            {
                "verdict": verdict.value,
                "currency": currency,
                "channel_code": channel_code,
                "payouts": total.payouts,
                "amount": str(total.amount),
            }
            for (verdict, currency, channel_code), total in sorted(self.sums.items())
        ]
