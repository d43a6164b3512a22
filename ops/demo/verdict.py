"""What became of the demo's payouts, held against what the gateway really paid. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.demo.plan import Planned
from shared.moves import FINAL
from shared.state import Status


@dataclass(frozen=True, slots=True)
class Paid:
    """What the gateway's ledger says of one order."""

    creates_received: int
    payments: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The closing summary; `broken` names each payout for which a law was broken."""

    asked: int
    by_status: Mapping[str, int]
    sent: int
    paid_once: int
    paid_twice: int
    still_open: int
    told: int
    broken: Sequence[str]


def judge(
    planned: Sequence[Planned],
    rows: Mapping[str, Status],
    ledger: Mapping[str, Paid],
    told: Mapping[str, Sequence[str]],
) -> Verdict:
    """Hold the rows, the gateway's ledger and the outcome messages against each other.

    Args:
        rows: our status, by order number.
        ledger: what the gateway did, by order number.
        told: the final statuses that the asking app was told, by order number.
    """
    nothing = Paid(0, 0)
    broken: list[str] = []
    for payout in planned:
        number = payout.merchant_order_no
        faults = _broken(
            payout, rows.get(number), ledger.get(number, nothing), list(told.get(number, ()))
        )
        broken += [f"{number} ({payout.fault or 'no fault'}): {fault}" for fault in faults]
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
    )


def _broken(payout: Planned, status: Status | None, paid: Paid, told: Sequence[str]) -> list[str]:
    found = []
    if paid.payments > 1:
        found.append(f"PAID {paid.payments} TIMES")
    if status is None:
        return [*found, "lost: asked for, and not on record"]
    if status not in FINAL:
        found.append(f"still {status}" + (f", the app was told {', '.join(told)}" if told else ""))
    elif status is not payout.end:
        found.append(f"ended as {status}, the truth is {payout.end}")
    if status in FINAL and (status is Status.SUCCEEDED) != (paid.payments > 0):
        found.append(f"says {status}, the gateway paid {paid.payments} time(s)")
    if status in FINAL and set(told) != {status.value}:
        found.append(f"is {status}, the asking app was told {', '.join(told) or 'nothing'}")
    return found
