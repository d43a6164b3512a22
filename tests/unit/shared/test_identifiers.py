"""What a spreadsheet makes of identifiers is refused; what wallets and apps use is not."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import identifiers
from shared.contract import InvalidRequest, parse_request
from shared.identifiers import (
    doubt_about_account_no,
    doubt_about_order_no,
    fault_of_account_no,
    fault_of_order_no,
    without_ruin,
)
from tests.support.factories import request_kwargs

LONG_NUMBERS = st.integers(10**5, 10**20)
PRINTED: dict[str, Callable[[int], str]] = {
    "Excel": lambda number: f"{number:.5E}",
    "Excel, short": lambda number: f"{number:.0E}",
    "pandas": lambda number: f"{number}.0",
    "pandas, large": lambda number: f"{float(number):e}",
    "Java": lambda number: f"{str(number)[0]}.{str(number)[1:]}E{len(str(number)) - 1}",
    "text marker": lambda number: f"'{number}",
    "formula": lambda number: f'="{number}"',
    "quotes": lambda number: f'"{number}"',
    "too narrow": lambda number: "#" * len(str(number)),
}
"""How programs print a number that was an identifier."""


@pytest.mark.parametrize("program", PRINTED)
@given(LONG_NUMBERS)
def test_a_number_that_a_program_printed_is_no_identifier(program: str, number: int) -> None:
    """Neither an order number nor an account."""
    printed = PRINTED[program](number)
    assert fault_of_order_no(printed)
    assert fault_of_account_no(printed)


@pytest.mark.parametrize(
    "text",
    ["#N/A", "#REF!", "########", "#VALUE!", "#NAME?", "NULL", "nan", "NaN", "None", "N/A", "n.a.",
     "NA", "undefined", "-", "--", "TRUE", "false", "<NA>", "(null)", "1-Mar", "Mar-26",
     "2026-03-01", "12-Dec-2026", "1.00E+05", "4.11118E+11", "7E+09", "1e-05", "1001.0",
     "1001.", "01.03.2026", "1.12.2026", "Okt-26", "01-Mai", "1-Dez-26", "mars-26", "12:30",
     "9:05:00", "12:30 PM", "12%", "12.5 %", "WAHR", "FALSCH", "VRAI", "Verdadero", "Falso"],
)  # fmt: skip
def test_ruined_identifiers(text: str) -> None:
    """The listed ones, of either kind."""
    assert fault_of_order_no(text)
    assert fault_of_account_no(text)


MAYBE_DATES = ["03-12-2026", "31-01-2026", "3-12-2026", "2026-3-1", "2026-03-1", "2026-12-31"]
CUT = ["12345678901234500000", "4111111111111110000", "100000000000000000"]


@pytest.mark.parametrize("order_no", [*MAYBE_DATES[:-1], *CUT])
def test_order_numbers_that_may_be_ruined_need_consent(order_no: str) -> None:
    """An app may number so: the contract takes them, the intake only where a person allowed it."""
    assert fault_of_order_no(order_no) is None
    doubt = doubt_about_order_no(order_no)
    assert doubt is not None
    assert order_no not in doubt
    assert parse_request(request_kwargs(order_no)).merchant_order_no == order_no


def test_accounts_that_may_be_ruined() -> None:
    """No account is a date; one of more than 17 digits may end in zeros."""
    assert all(map(fault_of_account_no, MAYBE_DATES))
    assert not any(map(fault_of_account_no, CUT))
    assert all(map(doubt_about_account_no, CUT))


@given(st.integers(10**17, 10**30))
def test_a_number_of_which_a_spreadsheet_kept_15_digits(number: int) -> None:
    """Every digit after the 15th becomes a zero."""
    digits = str(number)
    cut = digits[:15] + "0" * (len(digits) - 15)
    assert doubt_about_order_no(cut)
    assert doubt_about_account_no(cut)
    whole = f"{digits[:-1]}7"
    assert doubt_about_order_no(whole) is None
    assert doubt_about_account_no(whole) is None


@pytest.mark.parametrize(
    "text",
    ["U1234567;U7654321", "U1234567 / U7654321", "U1234567,U7654321", "U1234567 U7654321",
     "a@example.com,b@example.com", "U1|U2", "U123 4567", "U1234567+0.003", "100200300.5",
     "\u04201000001", "\uff351234567", "U\u0661\u0662\u0663", "\u0430nn@example.com"],
)  # fmt: skip
def test_ruined_accounts(text: str) -> None:
    """Two in a cell, an amount in it, letters of another alphabet."""
    assert fault_of_account_no(text)


WALLETS = st.one_of(
    st.from_regex(r"\A[PUEGBF]P?[0-9]{5,12}\Z"),
    st.from_regex(r"\A[0-9]{6,20}\Z").filter(lambda digits: not digits.endswith("000")),
    st.from_regex(r"\A\+[1-9][0-9]{6,14}\Z"),
    st.from_regex(r"\A0x[0-9a-f]{40}\Z"),
    st.from_regex(r"\A[a-z][a-z0-9._%-]{0,20}(\+[a-z0-9]{1,8})?@[a-z0-9-]{1,20}\.(com|io)\Z"),
)


@given(WALLETS)
def test_accounts_that_wallets_use_are_taken(account: str) -> None:
    """Digits, e-mail addresses, phone numbers, the wallets' own numbers."""
    assert fault_of_account_no(account) is None
    assert doubt_about_account_no(account) is None
    assert parse_request(request_kwargs(account_no=account)).account_no == account


@pytest.mark.parametrize(
    "account",
    ["P12345678", "U1234567", "007", "0071234", "41111810111111111111", "+380501234567",
     "user+1@example.com", "O'Brien@example.com", "null@example.com", "12E5", "E12345678", "FP1",
     "1e5", "nan-1", "name_1", "wallet:main", "$handle", "a.b.c", "1.2.3", "4111111111111111",
     "4111111111111110", "12345678901234000", "true.north", "user:12:30"],
)  # fmt: skip
def test_odd_accounts_that_may_be_right_are_taken(account: str) -> None:
    """What no program makes of another identifier."""
    assert fault_of_account_no(account) is None


@pytest.mark.parametrize(
    "order_no",
    ["0702001122", "007", "a-1_2.3", "1.1", "2026-03-01-7", "INV.2026.0", "12E5", "nan-1",
     "order.0", "2026-13-01", "v1.0.0", "00000", "2026-03-01-17", "ORD-12", "SET-26", "OUT-12",
     "2026-3-32", "17-13-1", "3-12-26", "1.2.3", "20260301000000", "1000000000000000",
     "00123456789012345000", "A12345678901234500000", "2099-0-1"],
)  # fmt: skip
def test_order_numbers_that_apps_use_are_taken(order_no: str) -> None:
    """Leading zeros, versions, dates with more to them."""
    assert fault_of_order_no(order_no) is None
    assert doubt_about_order_no(order_no) is None
    assert parse_request(request_kwargs(order_no)).merchant_order_no == order_no


@given(st.from_regex(rf"\A{identifiers._PLAIN.pattern}\Z"))
def test_what_is_not_looked_at_twice_is_right(text: str) -> None:
    """The short cut for plain identifiers leaves out no rule."""
    assert identifiers._fault(text) is None
    assert identifiers._fault_of_copy(text) is None
    assert not identifiers._POINT_ZERO.fullmatch(text)
    assert not identifiers._DECIMAL.fullmatch(text)
    assert not identifiers._MAYBE_DATE.fullmatch(text)


@given(st.text(string.printable, max_size=12))
def test_no_reason_holds_the_value(text: str) -> None:
    """It may be an account."""
    ruined = f"{text}4711"
    for fault in (fault_of_account_no(ruined), fault_of_order_no(ruined)):
        assert fault is None or "4711" not in fault


def test_a_request_says_what_happened() -> None:
    """Over Celery as in a file: the contract has the rule."""
    for field, value, words in (
        ("account_no", "4.1E+11", "an exponent"),
        ("account_no", "U1 U2", "two accounts"),
        ("merchant_order_no", "1.00E+05", "an exponent"),
        ("merchant_order_no", "88001.0", "ends with .0"),
        ("amount", "3.000", "decimal places"),
    ):
        with pytest.raises(InvalidRequest, match=words) as caught:
            parse_request(request_kwargs() | {field: value})
        assert caught.value.error["code"] == f"invalid_{field}"


@given(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,20}\Z"), st.integers(0, 5), st.booleans())
def test_what_a_spreadsheet_does_leaves_numbers_alike(order_no: str, zeros: int, up: bool) -> None:
    """Leading zeros, `.0` and case."""
    changed = "0" * zeros + (order_no.upper() if up else order_no.lower())
    assert without_ruin(changed) == without_ruin(order_no)
    assert without_ruin(f"{order_no}.0") == without_ruin(order_no)
    assert without_ruin(f"{order_no}7") != without_ruin(order_no)
