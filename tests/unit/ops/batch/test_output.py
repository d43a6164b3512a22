"""Sums per currency and channel."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from ops.batch.output import Totals
from ops.batch.row_validation import RowVerdict, add_results
from shared.storage.bulk_insert import IntakeResult
from tests.support.batch_rows import validated


def test_totals_are_exact_and_leave_out_what_is_bad() -> None:
    """A hundred thousand cents are a thousand, per currency and channel."""
    totals = Totals()
    line = validated("a,0.01,USD,11,U1")
    for _ in range(100_000):
        totals.add(line)
    totals.add(validated("a,7,EUR,12,U1"))
    totals.add(validated("a,x,EUR,12,U1"))
    assert line.payout is not None
    stored = IntakeResult(
        replace(line.payout, amount=Decimal(2)), is_new=False, conflicting=["amount"]
    )
    (conflicting,) = add_results([line], [stored])
    totals.add(conflicting)
    assert totals.as_rows() == [
        {"verdict": "new", "currency": "EUR", "channel_code": "12", "payouts": 1, "amount": "7.00"},
        {
            "verdict": "new",
            "currency": "USD",
            "channel_code": "11",
            "payouts": 100_000,
            "amount": "1000.00",
        },
    ]
    assert (totals.rows, totals.counts[RowVerdict.BAD]) == (100_003, 2)
