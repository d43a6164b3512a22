"""After the storm: our books against the gateway's ledger and what the requesting app heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, text

from shared.domain.payout import Status
from shared.domain.transitions import FINAL
from shared.storage import journal_audit
from shared.storage.encryption import NO_ENCRYPTION

_ROWS = text("SELECT merchant_order_no, status, review_reason FROM payout")
_RECLAIM = text(
    """
SELECT extract(epoch FROM lapse.at - sent.at) AS seconds
FROM payout_event lapse
JOIN payout_event sent ON sent.payout_id = lapse.payout_id AND sent.sequence = lapse.sequence - 1
WHERE lapse.kind = 'lease_over'
"""
)
_UNKNOWN = text(
    """
SELECT extract(epoch FROM coalesce(min(later.at), now()) - e.at) AS seconds
FROM payout_event e
LEFT JOIN payout_event later ON later.payout_id = e.payout_id
    AND later.sequence > e.sequence AND later.status_after <> 'unknown'
WHERE e.status_after = 'unknown' AND e.status_before IS DISTINCT FROM 'unknown'
GROUP BY e.id, e.at
"""
)


@dataclass
class Books:
    """The count; `broken` names what should not be."""

    asked: int
    by_status: Mapping[str, int]
    paid_once: int
    paid_twice: list[str]
    lost: list[str]
    contradicting: list[str]
    in_review: Mapping[str, int]
    open: int
    mistold: list[str]
    broken_chains: int
    reclaim_seconds: Sequence[float]
    unknown_seconds: Sequence[float]
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broken += [f"PAID TWICE: {no}" for no in self.paid_twice]
        self.broken += [f"LOST: {no}" for no in self.lost]
        self.broken += [f"UNTRUE END: {words}" for words in self.contradicting]
        self.broken += [f"TOLD WRONGLY: {words}" for words in self.mistold]
        if self.broken_chains:
            self.broken.append(f"{self.broken_chains} journals are broken")


def open_payouts(engine: Engine) -> int:
    """How many are neither at an end nor waiting for a person."""
    with engine.connect() as connection:
        rows = connection.execute(_ROWS).all()
    return sum(1 for row in rows if Status(row.status) not in FINAL and not row.review_reason)


def count(
    engine: Engine,
    orders: Sequence[str],
    ledger: Mapping[str, Any],
    told: Mapping[str, set[str]],
) -> Books:
    """Hold all three against each other."""
    with engine.connect() as connection:
        rows = {row.merchant_order_no: row for row in connection.execute(_ROWS)}
        reclaim = [float(row.seconds) for row in connection.execute(_RECLAIM)]
        unknown = [float(row.seconds) for row in connection.execute(_UNKNOWN)]
    payments = {no: order["payments"] for no, order in ledger.items()}
    contradicting, mistold = [], []
    for no, row in rows.items():
        status = Status(row.status)
        if status in FINAL and (payments.get(no, 0) > 0) != (status is Status.SUCCEEDED):
            contradicting.append(f"{no} is {status}, paid {payments.get(no, 0)} time(s)")
        if status in FINAL and told.get(no, set()) != {status.value}:
            mistold.append(f"{no} is {status}, the app heard {told.get(no) or 'nothing'}")
    return Books(
        asked=len(orders),
        by_status=Counter(row.status for row in rows.values()),
        paid_once=sum(1 for times in payments.values() if times == 1),
        paid_twice=[no for no, times in payments.items() if times > 1],
        lost=[no for no in orders if no not in rows],
        contradicting=contradicting,
        in_review=Counter(
            row.review_reason.partition(":")[0] for row in rows.values() if row.review_reason
        ),
        open=open_payouts(engine),
        mistold=mistold,
        broken_chains=sum(
            1 for found in journal_audit.audit_chains(engine, NO_ENCRYPTION) if found is not None
        ),
        reclaim_seconds=sorted(reclaim),
        unknown_seconds=sorted(unknown),
    )
