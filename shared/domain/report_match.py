"""Whether a report is about this payout (law 6). Pure."""

from __future__ import annotations

from shared.domain.accounts import account_key
from shared.domain.gateway import Report
from shared.domain.payout import PayoutState


def mismatches(payout: PayoutState, report: Report) -> list[str]:
    """What in the report contradicts the payout, one text for each field; empty: it is about it.

    A missing field that EPAY documents as always present is a mismatch too.
    """
    compared = (
        ("merchantOrderNo", report.merchant_order_no, payout.merchant_order_no),
        ("epayAccount", _spelled_alike(report.epay_account, payout), payout.epay_account),
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


def _spelled_alike(reported: str | None, payout: PayoutState) -> str | None:
    """The reported account; the payout's own if only the spelling differs."""
    is_same = reported is not None and account_key(reported) == account_key(payout.epay_account)
    return payout.epay_account if is_same else reported
