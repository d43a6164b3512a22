"""What a batch comes to: how many rows of each verdict, and sums per currency and channel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ops.batch.row_validation import Line, RowVerdict


@dataclass
class Total:
    """So many payouts, and what they come to."""

    payouts: int = 0
    amount: Decimal = Decimal(0)


@dataclass
class Totals:
    """Counts and sums, line by line."""

    rows: int = 0
    said: Counter[RowVerdict] = field(default_factory=Counter)
    sums: dict[tuple[RowVerdict, str, str], Total] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Count one more row; a bad one adds to no sum."""
        self.rows += 1
        self.said[line.said] += 1
        if line.payout is not None and line.said is not RowVerdict.BAD:
            key = (line.said, line.payout.currency, line.payout.channel_code)
            total = self.sums.setdefault(key, Total())
            total.payouts += 1
            total.amount += line.payout.amount

    def as_rows(self) -> list[dict[str, Any]]:
        """The sums, sorted."""
        return [
            {
                "verdict": said.value,
                "currency": currency,
                "channel_code": channel_code,
                "payouts": total.payouts,
                "amount": str(total.amount),
            }
            for (said, currency, channel_code), total in sorted(self.sums.items())
        ]
