"""Whether a report is about this payout at all."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.report_match import mismatches, names_second_order
from tests.support.factories import make_payout, make_report

ROW = make_payout()


@pytest.mark.parametrize("amount", ["10", "10.0", "10.00", "1E+1", "0010.000"])
def test_the_same_number_agrees_however_it_is_written(amount: str) -> None:
    """Decimals are compared as decimals."""
    assert mismatches(ROW, make_report("7", amount=Decimal(amount))) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount": Decimal("10.001")}, "amount 10.001 instead of 10.00"),
        ({"amount": Decimal(-10)}, "amount -10 instead of 10.00"),
        ({"amount": Decimal("NaN")}, "amount NaN instead of 10.00"),
        ({"amount": None}, "amount missing instead of 10.00"),
        ({"currency": "EUR"}, "currency EUR instead of USD"),
        ({"currency": "USD "}, "currency USD  instead of USD"),
        ({"currency": None}, "currency missing instead of USD"),
        ({"merchant_order_no": "a-1"}, "merchantOrderNo a-1 instead of A-1"),
        ({"merchant_order_no": None}, "merchantOrderNo missing instead of A-1"),
        ({"epay_account": "x"}, "epayAccount x instead of shop@example.com"),
        ({"epay_account": None}, "epayAccount missing instead of shop@example.com"),
        ({"status": None}, "status missing"),
        ({"status": ""}, "status missing"),
    ],
)
def test_every_other_field_disagrees(changes: dict[str, Any], words: str) -> None:
    """One that is left out as well: EPAY documents them as always present."""
    fields = {"status": "7", **changes}
    assert mismatches(ROW, make_report(**fields)) == [words]


def test_the_gateway_that_sent_it_is_the_payouts() -> None:
    """As far as both are known: one at another host is about another order, whatever it names."""
    row = make_payout(epay_gateway="live.example", epay_order_no="E-1")
    other = make_report("7", epay_order_no="E-2", gateways=("test.example",))
    assert mismatches(row, other) == [
        "gateway test.example instead of live.example",
        "epayOrderNo E-2 instead of E-1",
    ]
    assert not names_second_order(row, other)
    ours = replace(other, gateways=("new.example", "live.example"))
    assert mismatches(row, ours) == ["epayOrderNo E-2 instead of E-1"]
    assert names_second_order(row, ours)
    assert mismatches(replace(row, epay_gateway=None, epay_order_no=None), other) == []
    assert mismatches(replace(row, epay_order_no=None), replace(other, gateways=())) == []


def test_all_disagreements_are_named_in_order() -> None:
    """Order, account, amount, currency, status."""
    said = make_report(
        None, merchant_order_no="B", epay_account="x", amount=Decimal(1), currency="EUR"
    )
    found = mismatches(ROW, said)
    assert [words.split()[0] for words in found] == [
        "merchantOrderNo", "epayAccount", "amount", "currency", "status",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "said", "agrees"),
    [
        ("E-1", "E-1", True),
        ("E-1", None, True),
        ("E-1", "", True),
        (None, "E-1", True),
        (None, None, True),
        ("E-1", "E-2", False),
        ("E-1", "e-1", False),
    ],
)
def test_the_number_that_epay_named_is_part_of_the_identity(
    ours: str | None, said: str | None, *, agrees: bool
) -> None:
    """Law 13: naming none contradicts nothing."""
    row, report = make_payout(epay_order_no=ours), make_report("7", epay_order_no=said)
    assert mismatches(row, report) == ([] if agrees else [f"epayOrderNo {said} instead of E-1"])
    assert names_second_order(row, report) is not agrees


@pytest.mark.parametrize("other", [{"merchant_order_no": "B"}, {"epay_account": "x"}])
def test_the_number_of_another_payout_is_no_second_order(other: dict[str, Any]) -> None:
    """A report about another order or account names another number, of course."""
    row = make_payout(epay_order_no="E-1")
    report = make_report("7", epay_order_no="E-2", **other)
    assert len(mismatches(row, report)) == 2
    assert not names_second_order(row, report)


@pytest.mark.parametrize("changes", [{"fee": None}, {"fee": Decimal(99)}, {"epay_order_no": None}])
def test_what_is_not_ours_to_know_never_disagrees(changes: dict[str, Any]) -> None:
    """Fee and EPAY's number are EPAY's."""
    assert mismatches(ROW, make_report("7", **changes)) == []


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    st.decimals(min_value="0.01", max_value="9999999999999999.99", places=2),
    st.decimals(min_value="0.01", max_value="9999999999999999.99", places=4),
)
def test_only_the_same_amount_agrees(ours: Decimal, said: Decimal) -> None:
    """To the last digit, at any size."""
    row = make_payout(amount=ours)
    assert mismatches(row, make_report("7", amount=ours.normalize())) == []
    assert (mismatches(row, make_report("7", amount=said)) == []) == (ours - said == 0)
