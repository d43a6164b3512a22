"""The payouts of the demo, the fault that each meets, and its right final status. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.payout import Status

REFUSED_CODE = "2005"
NOT_FOUND_CODE = "2001"
_ODD_REFUSAL = "refuse:2999"
"""A code that is in no setting: only queries and time show what it means (law 4)."""
_HIDDEN = "accept_then_silence sandbox:hidden:3"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the gateway."""

    effect: str
    """What the gateway does."""
    end: Status = Status.SUCCEEDED
    """The only right final status."""
    is_late: bool = False
    """The callback comes only after our own queries have found the final status."""
    marker: str = ""
    """What orders the fault in a payout's remark; default: its name."""


FAULTS: dict[str, Fault] = {
    "accept_then_silence": Fault("accepts the order, never answers", is_late=True),
    "accept_then_500": Fault("accepts the order, answers HTTP 500", is_late=True),
    "accept_then_rubbish": Fault("accepts the order, answers HTML", is_late=True),
    "drop_before_accepting": Fault("closes the connection, has no order"),
    "refuse": Fault("refuses with a known code", Status.REJECTED),
    "refuse_oddly": Fault("refuses with an unknown code", Status.REJECTED, marker=_ODD_REFUSAL),
    "fail": Fault("reports failed", Status.FAILED),
    "no_callback": Fault("never calls back"),
    "duplicate_callback": Fault("calls back several times"),
    "late_callback": Fault("calls back late"),
    "out_of_order_callback": Fault("calls back in the wrong order"),
    "hidden": Fault("never answers, hides the order for 3 s", is_late=True, marker=_HIDDEN),
    "down": Fault("is away for 2 s", marker="down:2"),
}

EACH = 5
"""Payouts through each fault."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One payout of the demo."""

    merchant_order_no: str
    amount: str
    account_no: str
    fault: str | None
    remark: str | None
    end: Status


def plan_payouts(count: int) -> list[Planned]:
    """The payouts of a run: the faulty ones spread evenly among the others.

    Raises:
        ValueError: `count` is too small to go through every fault.
    """
    faulty = [fault for _ in range(EACH) for fault in FAULTS]
    if count < len(faulty):
        msg = f"the demo needs at least {len(faulty)} payouts to go through every fault"
        raise ValueError(msg)
    faults: list[str | None] = [None] * count
    for nth, fault in enumerate(faulty):
        faults[nth * count // len(faulty)] = fault
    return [_planned(nth, fault) for nth, fault in enumerate(faults)]


def _planned(nth: int, name: str | None) -> Planned:
    fault = FAULTS[name] if name else None
    remark = f"sandbox:{fault.marker or name}" if fault else None
    if fault and fault.is_late:
        remark = f"{remark} sandbox:late_callback"
    return Planned(
        merchant_order_no=f"demo-{nth:04d}",
        amount=f"{10 + nth}.{nth % 100:02d}",
        account_no=f"4111811{nth:013d}",
        fault=name,
        remark=remark,
        end=fault.end if fault else Status.SUCCEEDED,
    )
