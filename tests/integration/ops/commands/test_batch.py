"""`payouts batch`: what it reads, and what it says of each row."""

from __future__ import annotations

import io
import json
import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ops.batch import output
from tests.support.batch_file import BatchFile
from tests.support.batch_harness import GOOD, SECRET, Harness, results
from tests.support.batch_rows import HEADER

if TYPE_CHECKING:
    from tests.integration.ops.conftest import Payouts, Ran


def test_a_dry_run_changes_nothing(harness: Harness, tmp_path: Path) -> None:
    """Counts, exact sums, what to do next, and no file left behind."""
    ran = harness.batch(GOOD)
    assert ran.code == 0
    assert "3 rows, and 1 blank line: 3 new" in ran.out
    assert "10.60" in ran.out
    assert "7.00" in ran.out
    assert "Nothing was sent yet: run this again with --confirm." in ran.err
    assert SECRET not in ran.out + ran.err
    assert harness.sql("SELECT id FROM payout") == []
    assert harness.hinted() == []
    assert [path.name for path in tmp_path.iterdir()] == ["may.csv"]


def test_run_again_it_asks_for_nothing_twice(harness: Harness) -> None:
    """What is there with the same fields is fine; with others it is a conflict, and bad."""
    harness.batch(GOOD, "--confirm")
    again = harness.batch(None, "--confirm")
    assert (again.code, len(harness.hinted())) == (0, 3)
    assert "3 already there" in again.out
    assert {row["status"] for row in results(harness.file.with_suffix(".result.csv"))} == {"queued"}
    other = harness.batch(GOOD.replace("10.50", "11.50"))
    assert other.code == 1
    assert "row 2: merchant_order_no belongs to a payout with another amount\n" in other.out
    assert "2 already there, 1 bad" in other.out
    assert len(harness.sql("SELECT id FROM payout_event")) == 3


def test_one_bad_row_keeps_all_back_unless_skipped(harness: Harness) -> None:
    """A mistake in a file is a reason to look at all of it."""
    content = GOOD + "a-4,1e5,USD,11,U1\n"
    ran = harness.batch(content, "--confirm")
    assert ran.code == 1
    assert "row 6: amount is not a plain decimal number" in ran.out
    assert "Nothing was sent because of 1 bad row" in ran.err
    assert harness.sql("SELECT id FROM payout") == []
    assert len(results(harness.file.with_suffix(".result.csv"))) == 4
    skipped = harness.batch(content, "--confirm", "--skip-bad")
    assert skipped.code == 1
    assert "3 accepted, 1 bad" in skipped.out
    assert len(harness.sql("SELECT id FROM payout")) == len(harness.hinted()) == 3


def test_json_has_every_bad_row(harness: Harness) -> None:
    """And amounts as texts."""
    rows = "".join(f"b-{nth},x,USD,11,U1\n" for nth in range(output.SHOWN + 10))
    ran = harness.batch(f"{HEADER}\n{rows}a-1,10.50,USD,11,U1\n", "--json")
    said = json.loads(ran.out)
    assert ran.code == 1
    assert (said["rows"], said["verdicts"], said["confirmed"]) == (
        31, {"bad": 30, "new": 1}, False
    )  # fmt: skip
    assert [problem["row"] for problem in said["problems"]] == list(range(2, 32))
    assert said["totals"][0]["amount"] == "10.50"


def test_on_a_terminal_bad_rows_are_bounded(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The totals stay in sight; in a pipe all are printed."""
    rows = "".join(f"b-{nth},x,USD,11,U1\n" for nth in range(output.SHOWN + 10))
    assert harness.batch(f"{HEADER}\n{rows}").out.count("row ") == output.SHOWN + 10
    monkeypatch.setattr(output.out, "_force_terminal", True)
    ran = harness.batch(None)
    assert ran.out.count("not a plain decimal") == output.SHOWN
    assert "... and 10 more: --result FILE or --json has them all" in ran.out


def test_a_channel_that_epay_does_not_document_is_mentioned(harness: Harness) -> None:
    """Seen before it is sent; it is no reason to refuse the row."""
    ran = harness.batch(f"{HEADER}\na-1,10.50,USD,11,U1\na-2,10.50,USD,99,U1\n")
    assert ran.code == 0
    assert "Check channel 99: EPAY documents 11 Perfect Money" in ran.err
    assert "Check channel" not in harness.batch(GOOD).err


def test_from_stdin(harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read once, walked twice; with --confirm the result needs a name."""

    def given(*options: str) -> Ran:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
        harness.file = Path("-")
        return harness.batch(None, *options)

    assert given().code == 0
    nameless = given("--confirm")
    assert nameless.code == 2
    assert "with --result" in nameless.err
    result = tmp_path / "stdin.csv"
    assert given("--confirm", "--result", str(result)).code == 0
    assert [row["verdict"] for row in results(result)] == ["accepted"] * 3
    assert len(harness.sql("SELECT id FROM payout")) == 3


def test_from_a_pipe_with_a_name(harness: Harness, tmp_path: Path) -> None:
    """What cannot be walked twice is copied: `payouts batch <(unzip -p may.zip)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(GOOD,))
    writer.start()
    harness.file = pipe
    ran = harness.batch(None)
    writer.join()
    assert (ran.code, "3 new" in ran.out) == (0, True)


def test_the_batch_itself_is_never_written_over(harness: Harness) -> None:
    """Whatever --result says."""
    ran = harness.batch(GOOD, "--result", str(harness.file))
    assert ran.code == 2
    assert "is not overwritten" in ran.err
    assert harness.file.read_text() == GOOD


@pytest.mark.parametrize(
    ("content", "environment", "words"),
    [
        ("", {}, "the file is empty"),
        ("no,good\n", {}, "names no column of a request"),
        (None, {}, "may.csv cannot be read: No such file or directory"),
        (GOOD, {"DATABASE_URL": "postgresql://a:b@127.0.0.1:1/none"}, "DATABASE_URL"),
        (GOOD, {"DATABASE_URL": ""}, "DATABASE_URL"),
        (GOOD, {"EPAY_ACCOUNT": ""}, "EPAY_ACCOUNT"),
    ],
)
def test_what_cannot_be_done_is_exit_code_2(
    harness: Harness, content: str | None, environment: dict[str, str], words: str
) -> None:
    """One clear line, no trace."""
    ran = harness.batch(content, **environment)
    assert ran.code == 2
    assert words in ran.err
    assert "Traceback" not in ran.err


def test_one_in_a_hundred_bad_in_ten_ways(harness: Harness, two_thousand: BatchFile) -> None:
    """Each by its row, its column and its reason; the others add up."""
    said = json.loads(harness.batch(None, "--json").out)
    found = {problem["row"]: problem for problem in said["problems"]}
    assert len(said["problems"]) == len(found) == 20
    for row, (column, reason) in two_thousand.bad.items():
        assert found[row]["column"] == column
        assert reason in found[row]["reason"]
    assert sum(Decimal(row["amount"]) for row in said["totals"]) == two_thousand.total
    assert sum(row["payouts"] for row in said["totals"]) == len(two_thousand.good)


def test_the_schema_is_printed(harness: Harness, payouts: Payouts) -> None:
    """For an app that wants to check before it asks."""
    ran = payouts("schema", "request")
    assert ran.code == 0
    assert json.loads(ran.out)["title"] == "PayoutRequest"
