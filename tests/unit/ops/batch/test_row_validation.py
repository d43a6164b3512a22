"""Rows of a batch: valid, invalid and why, duplicate."""

from __future__ import annotations

import pytest

from ops.batch.row_validation import Line, RowVerdict
from tests.support.batch_rows import ACCOUNT, HEADER, lines, sheet, validated

SECRET = "41111810111111111111"


def reasons(line: Line) -> dict[str, str]:
    return {problem.column: problem.reason for problem in line.problems}


def test_a_good_row_is_a_payout_with_every_digit() -> None:
    """Leading zeros are kept, the amount is exact, and empty cells are none."""
    line = validated(
        "0001,0.10,USD,011,007,,,,", f"{HEADER},remark,epay_account,notify_task,notify_queue"
    )
    assert (line.row, line.verdict, list(line.problems)) == (2, RowVerdict.NEW, [])
    payout = line.payout
    assert payout is not None
    assert (payout.merchant_order_no, payout.channel_code, payout.account_no) == (
        "0001", "011", "007"
    )  # fmt: skip
    assert str(payout.amount) == "0.10"
    assert (payout.remark, payout.notify, payout.epay_account) == (None, None, ACCOUNT)


def test_columns_in_any_order_and_optional_ones() -> None:
    """Found by their names; the answer's address is two columns."""
    line = validated(
        f'"Zoë, thank you",U1,11,USD,10.5,a-1,{ACCOUNT},shop.told,shop',
        "remark,account_no,channel_code,currency,amount,merchant_order_no,epay_account,"
        "notify_task,notify_queue",
    )
    assert line.payout is not None
    assert line.payout.remark == "Zoë, thank you"
    assert line.payout.notify == {"task": "shop.told", "queue": "shop", "on": ["final"]}


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("a,1e5,USD,11,U1", "amount", "not a plain decimal"),
        ('a,"1,000.00",USD,11,U1', "amount", "not a plain decimal"),
        ("a, 10.50,USD,11,U1", "amount", "not a plain decimal"),
        ("a,0.00,USD,11,U1", "amount", "above zero"),
        ("a,1.005,USD,11,U1", "amount", "more than 2 decimal places"),
        ("a,10000000000000000,USD,11,U1", "amount", "more than 16 digits"),
        ("a,,USD,11,U1", "amount", "is empty"),
        ("a,1,usd,11,U1", "currency", "capitals"),
        ("a/b,1,USD,11,U1", "merchant_order_no", "letters, digits"),
        (",1,USD,11,U1", "merchant_order_no", "is empty"),
        ("a,1,USD,1 1,U1", "channel_code", "channel code"),
        ("a,1,USD,11,", "account_no", "is empty"),
        (f"a,1,USD,11, {SECRET}", "account_no", "white space"),
        (f"a,1,USD,11,{SECRET}{'0' * 109}", "account_no", "more than 128 characters"),
        (f"a,1,USD,11,{SECRET}\u202e", "account_no", "cannot be printed"),
        ("a,1,USD,11", "", "has 4 cells, and the header has 5"),
        ("a,1,USD,11,U1,more", "", "has 6 cells"),
        ('a,1,USD,11,"U1"x', "", "is not CSV"),
        ('a,1,USD,11,"U1\n2"', "", "lines 2 to 3 were read as one row"),
        ('a,1,USD,11,"U1', "", "check the quotes"),
    ],
)
def test_a_bad_row_is_named_with_column_and_reason(row: str, column: str, reason: str) -> None:
    """And its values are in no words."""
    line = validated(row)
    assert line.verdict is RowVerdict.BAD
    assert reason in reasons(line)[column]
    assert SECRET not in str(line.problems)


def test_every_problem_of_a_row_is_named() -> None:
    """One look is enough to mend it."""
    assert set(reasons(validated("a b,1.005,usd,,"))) == {
        "merchant_order_no", "amount", "currency", "channel_code", "account_no"
    }  # fmt: skip


def test_another_account_and_half_an_address() -> None:
    """What only the workers' settings decide."""
    wrong = validated("a,1,USD,11,U1,other@epay.com", f"{HEADER},epay_account")
    assert "not the account" in reasons(wrong)["epay_account"]
    half = validated("a,1,USD,11,U1,shop.told,", f"{HEADER},notify_task,notify_queue")
    assert reasons(half) == {"notify_queue": "is empty"}


def test_what_is_not_utf_8_is_said_so() -> None:
    """The row is named; the others are read."""
    found = lines(f"{HEADER},remark\na,1,USD,11,U1,Zo".encode() + b"\xeb\nb,1,USD,11,U1,\n")
    assert reasons(found[0]) == {"remark": "is not UTF-8 text: save the file in UTF-8"}
    assert found[1].verdict is RowVerdict.NEW


def test_duplicates_name_the_first_row() -> None:
    """Whatever else is wrong with either, and blank lines are counted but are no rows."""
    text = f"{HEADER}\n\na,1,USD,11,U1\n,,,,\na,1,USD,11,U1\na,x,USD,11,U1\nb,1,USD,11,U1\n"
    found = lines(text)
    assert [line.row for line in found] == [3, 5, 6, 7]
    assert [line.verdict for line in found] == [
        RowVerdict.NEW,
        RowVerdict.BAD,
        RowVerdict.BAD,
        RowVerdict.NEW,
    ]
    assert reasons(found[1]) == {"merchant_order_no": "is also the order number of row 3"}
    assert set(reasons(found[2])) == {"merchant_order_no", "amount"}
    table = sheet(text)
    assert (len(list(table.rows())), table.blank_lines) == (4, 2)
    assert (len(list(table.rows())), table.blank_lines) == (4, 2)


def test_a_torn_row_does_not_swallow_the_next() -> None:
    """A stray quote costs its own row."""
    found = lines(f'{HEADER}\na,1,USD,11,"U1"x\nb,1,USD,11,U1\n')
    assert [(line.row, line.verdict) for line in found] == [
        (2, RowVerdict.BAD),
        (3, RowVerdict.NEW),
    ]


RUINED = {
    "merchant_order_no": ["1001.0", "1-Mar", "1.00E+05", "2026-03-01", "88001.0", "NULL", "#N/A"],
    "amount": [
        "1\xa0000.00", "1'000.00", "1.000,00", "$10.50", "10.50 USD", "\u0661\u0660.\u0665\u0660",
        "1.10E+05", "3.66e-04", "-10.50", "(10.50)", "10.005", "1.000", "3.000", "#N/A", "NULL",
    ],
    "account_no": [
        "4.11118E+11", "1.23457E+15", "7E+09", "100200300.0", "7654321.0", "#N/A", "#REF!",
        "########", "#VALUE!", "#NAME?", "'0071234", '="0071234"', '"U1234567"', "NULL", "nan",
        "None", "N/A", "undefined", "-", "TRUE", "\u04201000001", "\uff351234567",
        "U\u0661\u0662\u0663567", "U12345\u200b67", "U1234567\xa0", "U123 4567",
        "U1234567+0.003", "U1234567;U7654321", "U1234567 / U7654321", "U1234567,U7654321",
    ],
}  # fmt: skip
"""What spreadsheets, exports and copies made of files of payouts."""


@pytest.mark.parametrize(
    ("column", "value"), [(column, value) for column in RUINED for value in RUINED[column]]
)
def test_a_ruined_cell_is_bad_and_the_reason_names_its_column(column: str, value: str) -> None:
    """And nothing else of the row is."""
    cells = dict(zip(HEADER.split(","), ["a-1", "10.50", "USD", "11", "U1234567"], strict=True))
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in (cells | {column: value}).values()]
    line = validated(",".join(quoted))
    assert line.verdict is RowVerdict.BAD
    assert set(reasons(line)) == {column}
    assert reasons(line)[column]


@pytest.mark.parametrize(("first", "second"), [("Ab-1", "AB-1"), ("0088001", "88001"), ("a", "0A")])
def test_numbers_that_differ_by_ruin_alone_are_bad_unless_allowed(first: str, second: str) -> None:
    """A spreadsheet takes leading zeros, and a list that was typed again another case."""
    text = f"{HEADER}\n{first},1,USD,11,U1\n{second},1,USD,11,U1\nother,1,USD,11,U1\n"
    found = lines(text)
    assert [line.verdict for line in found] == [RowVerdict.NEW, RowVerdict.BAD, RowVerdict.NEW]
    assert reasons(found[1])["merchant_order_no"].startswith(
        "is the order number of row 2, but for"
    )
    assert {line.verdict for line in lines(text, allow_alike=True)} == {RowVerdict.NEW}
