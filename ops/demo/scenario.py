"""The payouts of the demo, the fault that each meets, and its right final status. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.payout import Status

REFUSED_CODE = "2005"
NOT_FOUND_CODE = "2001"
ODD_REFUSAL_CODE = "2999"
"""A refusal that is in no setting: only queries and time show what it means (law 4)."""

_LATE = "sandbox:late_callback"
"""The callback comes only after our own queries have found the final status."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the gateway."""

    effect: str
    """What the gateway does."""
    remark: str
    """The marker that orders it."""
    end: Status = Status.SUCCEEDED
    """The only right final status."""


FAULTS: dict[str, Fault] = {
    "accept_then_silence": Fault(
        "accepts the order, never answers", f"sandbox:accept_then_silence {_LATE}"
    ),
    "accept_then_500": Fault(
        "accepts the order, answers HTTP 500", f"sandbox:accept_then_500 {_LATE}"
    ),
    "accept_then_rubbish": Fault(
        "accepts the order, answers HTML", f"sandbox:accept_then_rubbish {_LATE}"
    ),
    "drop_before_accepting": Fault(
        "closes the connection, has no order", "sandbox:drop_before_accepting"
    ),
    "refuse": Fault("refuses with a known code", "sandbox:refuse", Status.REJECTED),
    "refuse_oddly": Fault(
        "refuses with an unknown code", f"sandbox:refuse:{ODD_REFUSAL_CODE}", Status.REJECTED
    ),
    "fail": Fault("reports failed", "sandbox:fail", Status.FAILED),
    "no_callback": Fault("never calls back", "sandbox:no_callback"),
    "duplicate_callback": Fault("calls back several times", "sandbox:duplicate_callback"),
    "late_callback": Fault("calls back late", _LATE),
    "out_of_order_callback": Fault(
        "calls back in the wrong order", "sandbox:out_of_order_callback"
    ),
    "hidden": Fault(
        "never answers, hides the order for 3 s",
        f"sandbox:accept_then_silence sandbox:hidden:3 {_LATE}",
    ),
    "down": Fault("is away for 2 s", "sandbox:down:2"),
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
    return Planned(
        merchant_order_no=f"demo-{nth:04d}",
        amount=f"{10 + nth}.{nth % 100:02d}",
        account_no=f"4111811{nth:013d}",
        fault=name,
        remark=fault.remark if fault else None,
        end=fault.end if fault else Status.SUCCEEDED,
    )
