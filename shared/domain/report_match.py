"""Whether a report is about this payout (law 6). Pure."""

from __future__ import annotations

from shared.domain.gateway import Report
from shared.domain.payout import PayoutState


def mismatches(payout: PayoutState, report: Report) -> list[str]:
    """What in the report contradicts the payout, one text for each field; empty: it is about it.

    A missing field that EPAY documents as always present is a mismatch too.
    """
    compared = (
        ("merchantOrderNo", report.merchant_order_no, payout.merchant_order_no),
        ("epayAccount", report.epay_account, payout.epay_account),
        ("amount", report.amount, payout.amount),
        ("currency", report.currency, payout.currency),
    )
    found = [
        f"{name} {'missing' if reported is None else reported} instead of {expected}"
        for name, reported, expected in compared
        if reported != expected
    ]
    if not report.status:
        found.append("status missing")
    return found
