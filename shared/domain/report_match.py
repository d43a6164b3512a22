"""Whether a report is about this payout at all (law 6). Pure."""

from __future__ import annotations

from shared.domain.gateway import Report
from shared.domain.payout import PayoutState


def mismatches(payout: PayoutState, report: Report) -> list[str]:
    """What the report says other than the row, in words; empty when it counts.

    A field that EPAY documents as always present and left out disagrees too.
    """
    pairs = (
        ("merchantOrderNo", report.merchant_order_no, payout.merchant_order_no),
        ("epayAccount", report.epay_account, payout.epay_account),
        ("amount", report.amount, payout.amount),
        ("currency", report.currency, payout.currency),
    )
    found = [
        f"{name} {'missing' if said is None else said} instead of {ours}"
        for name, said, ours in pairs
        if said != ours
    ]
    if not report.status:
        found.append("status missing")
    return found
