"""What became of the demo's payouts, held against what the gateway really paid. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.demo.scenario import Planned
from shared.domain.payout import Status
from shared.domain.transitions import FINAL


@dataclass(frozen=True, slots=True)
class Paid:
    """What the gateway's ledger says of one order."""

    creates_received: int
    payments: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The closing summary.

    `broken` names each payout for which a law was broken, `unfinished` each that the time limit
    left before its end or before its outcome was told.
    """

    asked: int
    by_status: Mapping[str, int]
    sent: int
    paid_once: int
    paid_twice: int
    still_open: int
    told: int
    broken: Sequence[str]
    unfinished: Sequence[str]


def judge(
    planned: Sequence[Planned],
    rows: Mapping[str, Status],
    ledger: Mapping[str, Paid],
    told: Mapping[str, Sequence[str]],
    *,
    in_time: bool = True,
) -> Verdict:
    """Hold the rows, the gateway's ledger and the outcome messages against each other.

    Args:
        rows: our status, by order number.
        ledger: what the gateway did, by order number.
        told: the final statuses that the asking app was told, by order number.
        in_time: whether all ended within the time limit; if not, an end that is missing is
            unfinished and breaks no law.
    """
    nothing = Paid(0, 0)
    broken: list[str] = []
    unfinished: list[str] = []
    for payout in planned:
        number = payout.merchant_order_no
        status, paid = rows.get(number), ledger.get(number, nothing)
        heard = list(told.get(number, ()))
        label = f"{number} ({payout.fault or 'no fault'})"
        broken += [f"{label}: {fault}" for fault in _broken(payout, status, paid, heard)]
        if missing := _missing(status, paid, heard):
            (broken if in_time else unfinished).append(f"{label}: {missing}")
    known = {payout.merchant_order_no for payout in planned}
    for number in sorted((rows.keys() | ledger.keys()) - known):
        broken.append(f"{number}: nobody asked for it")
    return Verdict(
        asked=len(planned),
        by_status=Counter(status.value for status in rows.values()),
        sent=sum(1 for paid in ledger.values() if paid.creates_received),
        paid_once=sum(1 for paid in ledger.values() if paid.payments == 1),
        paid_twice=sum(1 for paid in ledger.values() if paid.payments > 1),
        still_open=sum(1 for status in rows.values() if status not in FINAL),
        told=len(told),
        broken=broken,
        unfinished=unfinished,
    )


def _broken(payout: Planned, status: Status | None, paid: Paid, told: Sequence[str]) -> list[str]:
    found = []
    if paid.payments > 1:
        found.append(f"PAID {paid.payments} TIMES")
    if status is None and (paid.creates_received or told):
        found.append("lost: sent or told, and not on record")
    if status in FINAL:
        if status is not payout.end:
            found.append(f"ended as {status}, the truth is {payout.end}")
        if (status is Status.SUCCEEDED) != (paid.payments > 0):
            found.append(f"says {status}, the gateway paid {paid.payments} time(s)")
        if set(told) - {status.value}:
            found.append(f"is {status}, the asking app was told {', '.join(told)}")
    elif status is not None and told:
        found.append(f"still {status}, the app was told {', '.join(told)}")
    return found


def _missing(status: Status | None, paid: Paid, told: Sequence[str]) -> str | None:
    """What only time can still bring, None where nothing is missing."""
    if told or (status is None and paid.creates_received):
        return None
    if status is None:
        return "not on record: lost, or still in the queue"
    return f"is {status}, the app was told nothing" if status in FINAL else f"still {status}"
