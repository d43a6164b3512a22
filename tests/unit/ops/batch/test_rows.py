"""A batch, as far as it is pure: which row is read, what is said of it, what is written down."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ops.batch.csv_reader import Sheet, opened
from ops.batch.output import Totals
from ops.batch.result_file import COLUMNS, result_file
from ops.batch.row_validation import Line, RowValidator, RowVerdict, add_results
from ops.errors import UserError
from shared.storage.bulk_insert import IntakeResult

ACCOUNT = "test2020@epay.com"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HEADER = "merchant_order_no,amount,currency,channel_code,account_no"
SECRET = "41111810111111111111"


def sheet(text: str | bytes) -> Sheet:
    return Sheet(io.BytesIO(text if isinstance(text, bytes) else text.encode()))


def lines(text: str | bytes) -> list[Line]:
    table = sheet(text)
    judge = RowValidator(ACCOUNT, NOW)
    return [judge.validate(row) for row in table.rows()]


def judged(row: str, header: str = HEADER) -> Line:
    (line,) = lines(f"{header}\n{row}\n")
    return line


def reasons(line: Line) -> dict[str, str]:
    return {problem.column: problem.reason for problem in line.problems}


def test_a_good_row_is_a_payout_with_every_digit() -> None:
    """Leading zeros are kept, the amount is exact, and empty cells are none."""
    line = judged(
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
    line = judged(
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
    line = judged(row)
    assert line.verdict is RowVerdict.BAD
    assert reason in reasons(line)[column]
    assert SECRET not in str(line.problems)


def test_every_problem_of_a_row_is_named() -> None:
    """One look is enough to mend it."""
    assert set(reasons(judged("a b,1.005,usd,,"))) == {
        "merchant_order_no", "amount", "currency", "channel_code", "account_no"
    }  # fmt: skip


def test_another_account_and_half_an_address() -> None:
    """What only the workers' settings decide."""
    wrong = judged("a,1,USD,11,U1,other@epay.com", f"{HEADER},epay_account")
    assert "not the account" in reasons(wrong)["epay_account"]
    half = judged("a,1,USD,11,U1,shop.told,", f"{HEADER},notify_task,notify_queue")
    assert reasons(half) == {"notify_queue": "is empty"}


def test_what_is_not_utf_8_is_said_so() -> None:
    """The row is named; the others are read."""
    found = lines(f"{HEADER},remark\na,1,USD,11,U1,Zo".encode() + b"\xeb\nb,1,USD,11,U1,\n")
    assert reasons(found[0]) == {"remark": "is not UTF-8 text: save the file in UTF-8"}
    assert found[1].verdict is RowVerdict.NEW


def test_duplicates_name_the_first_row() -> None:
    """Whatever else is wrong with either, and blank lines are counted but are no rows."""
    text = f"{HEADER}\n\na,1,USD,11,U1\n,,,,\na,1,USD,11,U1\na,x,USD,11,U1\nA,1,USD,11,U1\n"
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


@pytest.mark.parametrize("begin", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_write(begin: str, end: str) -> None:
    """A byte order mark, their line ends, and empty columns at the right."""
    text = begin + end.join([f"{HEADER},,", "a,1,USD,11,U1,,", "b,1,USD,11,U1,,"])
    assert [(line.row, line.verdict) for line in lines(text)] == [
        (2, RowVerdict.NEW),
        (3, RowVerdict.NEW),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty: its first line names merchant_order_no"),
        (f"a-1,10.50,USD,11,{SECRET}\n", "names no column of a request"),
        (f"{HEADER},{SECRET}\n", "column 6 is unknown"),
        (HEADER.replace("amount", "ammount"), "ammount (column 2) is unknown (is it amount?)"),
        (HEADER.replace(",account_no", ""), "account_no is missing"),
        (f"{HEADER},amount", "amount occurs twice"),
        (HEADER.replace(",", ";"), "not separated by commas"),
        (HEADER.encode("utf-16"), "UTF-16"),
        (f"{HEADER},\x1b[31m,\ud800\n".encode("utf-8", "surrogatepass"), "column 7 is unknown"),
    ],
)
def test_a_wrong_header_is_one_clear_error(text: str | bytes, words: str) -> None:
    """Before any row is looked at."""
    with pytest.raises(UserError) as caught:
        sheet(text)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Named, with the reason."""
    with (
        pytest.raises(UserError, match=r"none\.csv cannot be read"),
        opened(str(tmp_path / "none.csv")),
    ):
        pass


def test_totals_are_exact_and_leave_out_what_is_bad() -> None:
    """A hundred thousand cents are a thousand, per currency and channel."""
    totals = Totals()
    line = judged("a,0.01,USD,11,U1")
    for _ in range(100_000):
        totals.add(line)
    totals.add(judged("a,7,EUR,12,U1"))
    totals.add(judged("a,x,EUR,12,U1"))
    assert line.payout is not None
    stored = IntakeResult(
        replace(line.payout, amount=Decimal(2)), is_new=False, conflicting=["amount"]
    )
    (conflicting,) = add_results([line], [stored])
    totals.add(conflicting)
    assert totals.as_rows() == [
        {"verdict": "new", "currency": "EUR", "channel_code": "12", "payouts": 1, "amount": "7.00"},
        {
            "verdict": "new",
            "currency": "USD",
            "channel_code": "11",
            "payouts": 100_000,
            "amount": "1000.00",
        },
    ]
    assert (totals.rows, totals.counts[RowVerdict.BAD]) == (100_003, 2)


def test_the_result_has_a_line_for_each_problem_and_no_account(tmp_path: Path) -> None:
    """A row that is no request shows nothing but its number and what is wrong."""
    path = tmp_path / "result.csv"
    with result_file(path) as add:
        for line in lines(f"{HEADER}\n-1,1.5,USD,11,{SECRET}\n{SECRET},x,usd,11,U1\n"):
            add(line)
    assert SECRET not in path.read_text()
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    shown = ("row", "merchant_order_no", "amount", "column")
    assert [tuple(row[name] for name in shown) for row in rows] == [
        ("2", "'-1", "1.50", ""),
        ("3", "", "", "amount"),
        ("3", "", "", "currency"),
    ]  # fmt: skip
    with result_file(path):
        pass


@pytest.mark.parametrize("text", [f"{HEADER}\n", "my diary"])
def test_a_result_is_written_over_nothing_but_a_result(tmp_path: Path, text: str) -> None:
    """Least of all over the batch."""
    path = tmp_path / "may.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="is not overwritten"), result_file(path):
        pass
    assert path.read_text() == text


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    """A dry run leaves nothing behind unless it is told to."""
    with result_file(None) as add:
        add(judged("a,1,USD,11,U1"))
    nowhere = tmp_path / "no" / "r.csv"
    with pytest.raises(UserError, match="cannot be written"), result_file(nowhere):
        pass
