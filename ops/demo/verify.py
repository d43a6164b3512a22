"""The demo's result: our rows and the outcome messages, held against the gateway's ledger. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.console import counted
from ops.demo.scenario import Planned
from shared.domain.payout import Status
from shared.domain.transitions import FINAL

_LOST = "not on record"


@dataclass(frozen=True, slots=True)
class Paid:
    """One order in the gateway's ledger."""

    creates_received: int
    payments: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result: `broken` names each broken guarantee, `unfinished` each unfinished payout."""

    totals: Mapping[str, int]
    """The counts of the summary, by name."""
    by_fault: Mapping[str | None, Mapping[str, int]]
    """For each fault, the payouts by status."""
    broken: Sequence[str]
    unfinished: Sequence[str]


def judge(
    planned: Sequence[Planned],
    rows: Mapping[str, Status],
    ledger: Mapping[str, Paid],
    outcomes: Mapping[str, Sequence[str]],
    *,
    in_time: bool = True,
) -> Verdict:
    """Compare the rows, the gateway's ledger and the outcome messages.

    Args:
        planned: the requested payouts.
        rows: our status, by order number.
        ledger: the gateway's orders, by order number.
        outcomes: the final statuses in messages to the requesting app, by order number.
        in_time: whether the run finished; if not, a missing final status or message is unfinished,
            and no broken guarantee.
    """
    broken: list[str] = []
    unfinished: list[str] = []
    by_fault: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
    for payout in planned:
        number = payout.merchant_order_no
        status, paid = rows.get(number), ledger.get(number, Paid(0, 0))
        messages = list(outcomes.get(number, ()))
        by_fault[payout.fault][status.value if status else _LOST] += 1
        label = f"{number} ({payout.fault or 'no fault'})"
        broken += [f"{label}: {breach}" for breach in _breaches(payout, status, paid, messages)]
        if missing := _missing(status, paid, messages):
            (broken if in_time else unfinished).append(f"{label}: {missing}")
    known = {payout.merchant_order_no for payout in planned}
    for number in sorted((rows.keys() | ledger.keys()) - known):
        broken.append(f"{number}: was not requested")
    by_status = Counter(rows.values())
    payments = Counter(min(paid.payments, 2) for paid in ledger.values())
    totals = {
        "requested": len(planned),
        **{f"  {status}": count for status, count in sorted(by_status.items())},
        "sent to EPAY": sum(1 for paid in ledger.values() if paid.creates_received),
        "paid once": payments[1],
        "paid twice": payments[2],
        "still open": sum(count for status, count in by_status.items() if status not in FINAL),
        "notified": len(outcomes),
    }
    return Verdict(totals, by_fault, broken, unfinished)


def _breaches(
    payout: Planned, status: Status | None, paid: Paid, outcomes: Sequence[str]
) -> list[str]:
    found = []
    if paid.payments > 1:
        found.append(f"PAID {paid.payments} TIMES")
    if status is None and (paid.creates_received or outcomes):
        found.append("lost: sent or notified, and not on record")
    if status in FINAL:
        if status is not payout.end:
            found.append(f"ended as {status}, right is {payout.end}")
        if (status is Status.SUCCEEDED) != (paid.payments > 0):
            found.append(f"is {status}, the gateway made {counted(paid.payments, 'payment')}")
        if set(outcomes) - {status.value}:
            found.append(f"is {status}, the app was notified of {', '.join(outcomes)}")
    elif status is not None and outcomes:
        found.append(f"still {status}, the app was notified of {', '.join(outcomes)}")
    return found


def _missing(status: Status | None, paid: Paid, outcomes: Sequence[str]) -> str | None:
    """What more time can still bring; None if nothing is missing."""
    if outcomes or (status is None and paid.creates_received):
        return None
    if status is None:
        return f"{_LOST}: lost, or still in the queue"
    return f"is {status}, the app was not notified" if status in FINAL else f"still {status}"
