"""Whether a report is about this payout at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.report_match import mismatches
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


def test_all_disagreements_are_named_in_order() -> None:
    """Order, account, amount, currency, status."""
    said = make_report(
        None, merchant_order_no="B", epay_account="x", amount=Decimal(1), currency="EUR"
    )
    found = mismatches(ROW, said)
    assert [words.split()[0] for words in found] == [
        "merchantOrderNo", "epayAccount", "amount", "currency", "status",
    ]  # fmt: skip


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
