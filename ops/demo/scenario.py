"""Which payouts the demo asks for, which fault each goes through, and how it must end. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.payout import Status

REFUSED_CODE = "2005"
NOT_FOUND_CODE = "2001"
ODD_REFUSAL_CODE = "2999"
"""A refusal that no setting knows: only questions and patience can tell what it meant (law 4)."""

_LATE = "sandbox:late_callback"
"""No callback comes to the rescue before our own queries had to do their work."""

FAULTS: dict[str, tuple[str, Status]] = {
    "accept_then_silence": (f"sandbox:accept_then_silence {_LATE}", Status.SUCCEEDED),
    "accept_then_500": (f"sandbox:accept_then_500 {_LATE}", Status.SUCCEEDED),
    "accept_then_rubbish": (f"sandbox:accept_then_rubbish {_LATE}", Status.SUCCEEDED),
    "drop_before_accepting": ("sandbox:drop_before_accepting", Status.SUCCEEDED),
    "refuse": ("sandbox:refuse", Status.REJECTED),
    "refuse_oddly": (f"sandbox:refuse:{ODD_REFUSAL_CODE}", Status.REJECTED),
    "fail": ("sandbox:fail", Status.FAILED),
    "no_callback": ("sandbox:no_callback", Status.SUCCEEDED),
    "duplicate_callback": ("sandbox:duplicate_callback", Status.SUCCEEDED),
    "late_callback": ("sandbox:late_callback", Status.SUCCEEDED),
    "out_of_order_callback": ("sandbox:out_of_order_callback", Status.SUCCEEDED),
    "hidden": (f"sandbox:accept_then_silence sandbox:hidden:3 {_LATE}", Status.SUCCEEDED),
    "down": ("sandbox:down:2", Status.SUCCEEDED),
}
"""Every fault of the demo: the marker that orders it, and the only true end."""

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


def _planned(nth: int, fault: str | None) -> Planned:
    remark, end = FAULTS[fault] if fault else (None, Status.SUCCEEDED)
    return Planned(
        merchant_order_no=f"demo-{nth:04d}",
        amount=f"{10 + nth}.{nth % 100:02d}",
        account_no=f"4111811{nth:013d}",
        fault=fault,
        remark=remark,
        end=end,
    )
