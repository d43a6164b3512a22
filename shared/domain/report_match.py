"""Whether a report is about this payout (laws 6 and 13). Pure."""

from __future__ import annotations

from shared.domain.accounts import account_key
from shared.domain.gateway import Report
from shared.domain.payout import PayoutState


def mismatches(payout: PayoutState, report: Report) -> list[str]:
    """What in the report contradicts the payout, one text for each field; empty: it is about it.

    A missing field that EPAY documents as always present is a mismatch too; EPAY's own order number
    may be missing, but not differ from the one that EPAY named first.
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
    if not _may_be_its_gateway(payout, report):
        found.append(f"gateway {report.gateways[0]} instead of {payout.epay_gateway}")
    if not report.status:
        found.append("status missing")
    if report.epay_order_no and payout.epay_order_no not in {None, report.epay_order_no}:
        found.append(f"epayOrderNo {report.epay_order_no} instead of {payout.epay_order_no}")
    return found


def names_second_order(payout: PayoutState, report: Report) -> bool:
    """Whether EPAY names another order number under our account and order number (law 13)."""
    if not report.epay_order_no or payout.epay_order_no in {None, report.epay_order_no}:
        return False
    if not _may_be_its_gateway(payout, report):
        return False
    reported = (_spelled_alike(report.epay_account, payout), report.merchant_order_no)
    return reported == (payout.epay_account, payout.merchant_order_no)


def _may_be_its_gateway(payout: PayoutState, report: Report) -> bool:
    """Whether the payout is at the gateway that sent the report, as far as both are known."""
    return not report.gateways or payout.epay_gateway in {None, *report.gateways}


def _spelled_alike(reported: str | None, payout: PayoutState) -> str | None:
    """The reported account; the payout's own if only the spelling differs."""
    is_same = reported is not None and account_key(reported) == account_key(payout.epay_account)
    return payout.epay_account if is_same else reported
