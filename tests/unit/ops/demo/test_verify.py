"""The demo's judge must find what is wrong, and its plan must go through every fault."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from ops.demo.scenario import FAULTS, Planned, plan_payouts
from ops.demo.verify import Paid, judge
from shared.domain.payout import Status

GOOD = Planned("order-1", "10.00", "A1", None, None, Status.SUCCEEDED)
ONCE = Paid(creates_received=1, payments=1)


def _verdict(
    status: Status | None, paid: Paid | None, told: list[str], payout: Planned = GOOD
) -> list[str]:
    number = payout.merchant_order_no
    rows = {} if status is None else {number: status}
    ledger = {} if paid is None else {number: paid}
    return list(judge([payout], rows, ledger, {number: told} if told else {}).broken)


def test_all_is_well() -> None:
    """A payout paid once, ended truly and told truly breaks nothing; told twice is no breach."""
    assert _verdict(Status.SUCCEEDED, ONCE, ["succeeded"]) == []
    assert _verdict(Status.SUCCEEDED, ONCE, ["succeeded", "succeeded"]) == []
    refused = dataclasses.replace(GOOD, fault="refuse", end=Status.REJECTED)
    assert _verdict(Status.REJECTED, Paid(1, 0), ["rejected"], refused) == []


@pytest.mark.parametrize(
    ("status", "paid", "told", "words"),
    [
        (Status.SUCCEEDED, Paid(2, 2), ["succeeded"], "PAID 2 TIMES"),
        (None, None, [], "lost"),
        (None, ONCE, [], "lost"),
        (Status.FAILED, Paid(1, 0), ["failed"], "ended as failed"),
        (Status.SUCCEEDED, Paid(1, 0), ["succeeded"], "made 0 payments"),
        (Status.FAILED, ONCE, ["failed"], "made 1 payment"),
        (Status.PROCESSING, ONCE, [], "still processing"),
        (Status.UNKNOWN, None, [], "still unknown"),
        (Status.SUCCEEDED, ONCE, ["failed"], "notified of failed"),
        (Status.SUCCEEDED, ONCE, ["failed", "succeeded"], "notified of failed"),
        (Status.SUCCEEDED, ONCE, [], "not notified"),
    ],
)
def test_each_breach_is_named(
    status: Status | None, paid: Paid | None, told: list[str], words: str
) -> None:
    """Paid twice, lost, wrong end, unpaid success, still open, told wrongly: each has its words."""
    broken = _verdict(status, paid, told)
    assert any(words in line for line in broken)
    assert all(line.startswith("order-1 (no fault): ") for line in broken)


@pytest.mark.parametrize(
    ("status", "paid", "words"),
    [
        (None, None, "still in the queue"),
        (Status.PROCESSING, ONCE, "still processing"),
        (Status.UNKNOWN, None, "still unknown"),
        (Status.SUCCEEDED, ONCE, "not notified"),
    ],
)
def test_what_the_time_limit_left_open_breaks_no_law(
    status: Status | None, paid: Paid | None, words: str
) -> None:
    """It is named as unfinished."""
    rows, ledger = ({} if one is None else {"order-1": one} for one in (status, paid))
    verdict = judge([GOOD], rows, ledger, {}, in_time=False)
    assert verdict.broken == []
    [line] = verdict.unfinished
    assert words in line


@pytest.mark.parametrize(
    ("status", "paid", "told"),
    [
        (Status.SUCCEEDED, Paid(2, 2), ["succeeded"]),
        (Status.PROCESSING, Paid(2, 2), []),
        (None, ONCE, []),
        (None, None, ["succeeded"]),
        (Status.FAILED, ONCE, []),
        (Status.PROCESSING, ONCE, ["succeeded"]),
        (Status.SUCCEEDED, ONCE, ["failed"]),
    ],
)
def test_a_broken_law_is_broken_after_the_time_limit_too(
    status: Status | None, paid: Paid | None, told: list[str]
) -> None:
    """Paid twice, paid without a row, a wrong end, told wrongly: no time mends that."""
    rows, ledger = ({} if one is None else {"order-1": one} for one in (status, paid))
    assert judge([GOOD], rows, ledger, {"order-1": told}, in_time=False).broken


def test_payment_of_a_lost_payout_is_named() -> None:
    """Money that left for a payout that is on no record is said, not only that it is lost."""
    assert any("paid" in line.lower() for line in _verdict(None, Paid(2, 2), []))


def test_payment_that_nobody_asked_for_is_named() -> None:
    """An order at the gateway, or a row, that is not in the plan is a breach too."""
    verdict = judge(
        [GOOD],
        {"order-1": Status.SUCCEEDED, "stranger": Status.SUCCEEDED},
        {"order-1": ONCE, "stranger": ONCE},
        {"order-1": ["succeeded"]},
    )
    assert any("stranger" in line for line in verdict.broken)


def test_open_payout_told_an_end_is_named() -> None:
    """Who is told an end of a payout that is still open was told wrongly."""
    assert any("notified" in line for line in _verdict(Status.PROCESSING, ONCE, ["failed"]))


def test_summary_counts() -> None:
    """The figures of the closing summary are those of the rows, the ledger and the messages."""
    planned = plan_payouts(65)
    numbers = [payout.merchant_order_no for payout in planned]
    rows = dict.fromkeys(numbers, Status.SUCCEEDED) | {numbers[0]: Status.UNKNOWN}
    ledger = dict.fromkeys(numbers, ONCE) | {numbers[0]: Paid(0, 0), numbers[1]: Paid(2, 2)}
    verdict = judge(planned, rows, ledger, {no: ["succeeded"] for no in numbers[:10]})
    assert verdict.totals == {
        "requested": 65,
        "  succeeded": 64,
        "  unknown": 1,
        "sent to EPAY": 64,
        "paid once": 63,
        "paid twice": 1,
        "still open": 1,
        "notified": 10,
    }
    assert set(verdict.by_fault) == set(FAULTS)
    assert sum(statuses["succeeded"] for statuses in verdict.by_fault.values()) == 64


@pytest.mark.parametrize("count", [65, 66, 100, 200, 333])
def test_plan_goes_through_every_fault(count: int) -> None:
    """Every fault, three times at least, 40 in all; order numbers and accounts all differ."""
    planned = plan_payouts(count)
    assert len(planned) == count
    faults = Counter(payout.fault for payout in planned)
    plain = faults.pop(None, 0)
    assert set(faults) == set(FAULTS)
    assert min(faults.values()) >= 3
    assert sum(faults.values()) >= 40
    assert plain == count - sum(faults.values())
    assert len({payout.merchant_order_no for payout in planned}) == count
    assert len({payout.account_no for payout in planned}) == count
    assert all((payout.remark is None) == (payout.fault is None) for payout in planned)


def test_plan_too_small_is_refused() -> None:
    """Fewer payouts than faults is no demo."""
    with pytest.raises(ValueError, match="at least 65"):
        plan_payouts(64)
