"""`payouts batch` as a person runs it, on a real database and a real broker."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from devstack.ports import free_port
from ops.batch import output
from ops.commands import batch as command
from shared.identifiers import without_ruin
from shared.messaging.owner import KEY
from shared.storage import deployment
from shared.storage.bulk_insert import _ALIKE
from shared.storage.encryption import AccountCipher, new_key
from shared.storage.engine import make_engine
from shared.storage.statements import INSERT
from shared.storage.tables import WITHOUT_RUIN
from tests.support.batch_file import BatchFile, make_batch

if TYPE_CHECKING:
    from tests.integration.ops.conftest import Payouts, Ran

ACCOUNT = "test2020@epay.com"
HEADER = "merchant_order_no,amount,currency,channel_code,account_no"
SECRET = "41111810111111111111"
GOOD = f"{HEADER}\na-1,10.50,USD,11,{SECRET}\na-2,0.10,USD,11,007\n\na-3,7,EUR,12,008\n"


class Harness:
    """Files, servers, and the command between them."""

    def __init__(self, payouts: Payouts, database_url: str, redis_url: str, folder: Path) -> None:
        self._payouts = payouts
        self._engine: Engine = make_engine(database_url, pool_size=1)
        self.redis_url = redis_url
        self.environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "EPAY_ACCOUNT": ACCOUNT,
        }
        self.file = folder / "may.csv"

    def batch(self, content: str | None, *options: str, **environment: str) -> Ran:
        if content is not None:
            self.file.write_text(content)
        return self._payouts(
            "batch", str(self.file), *options, **{**self.environment, **environment}
        )

    def sql(self, statement: str) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(text(statement)))

    def hinted(self) -> list[int]:
        with redis.Redis.from_url(self.redis_url) as client:
            bodies = [json.loads(body) for body in client.lrange("payouts", 0, -1)]
        assert {body["headers"]["task"] for body in bodies} <= {"payouts.submit"}
        return [int(body["headers"]["kwargsrepr"].split(": ")[1].split(",")[0]) for body in bodies]

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture
def harness(payouts: Payouts, database_url: str, redis_url: str, tmp_path: Path) -> Any:
    made = Harness(payouts, database_url, redis_url, tmp_path)
    yield made
    made.close()


def results(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


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


def test_confirmed_it_is_on_disk_and_hinted(harness: Harness) -> None:
    """Queued under a lease, a hint for each, every digit kept, and a verdict for each row."""
    ran = harness.batch(GOOD, "--confirm")
    assert ran.code == 0
    assert "3 accepted" in ran.out
    rows = harness.sql(
        "SELECT id, merchant_order_no, amount, account_no, status, nonce,"
        " due_at - created_at AS lease FROM payout ORDER BY id"
    )
    assert [(row.merchant_order_no, row.amount, row.account_no) for row in rows] == [
        ("a-1", Decimal("10.50"), SECRET),
        ("a-2", Decimal("0.10"), "007"),
        ("a-3", Decimal("7.00"), "008"),
    ]
    assert {(row.status, row.lease.total_seconds()) for row in rows} == {("queued", 60)}
    assert len({row.nonce for row in rows}) == 3
    assert sorted(harness.hinted()) == [row.id for row in rows]
    found = results(harness.file.with_suffix(".result.csv"))
    assert [(row["row"], row["verdict"], row["status"]) for row in found] == [
        ("2", "accepted", "queued"),
        ("3", "accepted", "queued"),
        ("5", "accepted", "queued"),
    ]


def test_a_batch_that_a_spreadsheet_saved_in_between_is_not_paid_again(harness: Harness) -> None:
    """Leading zeros gone, case changed, `.0` added: bad, with the earlier number."""
    rows = "{},25.00,USD,11,U7000001\n{},30.00,USD,11,U7000002\n"
    week = f"{HEADER}\n{rows.format('0088001', 'May-2')}"
    assert harness.batch(week, "--confirm").code == 0
    saved = harness.batch(f"{HEADER}\n{rows.format('88001', 'MAY-2')}", "--confirm", "--skip-bad")
    assert saved.code == 1
    for row, number in ((2, "0088001"), (3, "May-2")):
        assert (
            f"row {row}: merchant_order_no is that of the earlier payout {number}, but for case,"
            in saved.out
        )
    floats = harness.batch(
        f"{HEADER}\n{rows.format('88001.0', '88002.0')}", "--confirm", "--allow-alike"
    )
    assert floats.out.count("ends with .0: a spreadsheet made a decimal number of it") == 2
    assert len(harness.sql("SELECT id FROM payout")) == len(harness.hinted()) == 2
    assert "2 already there" in harness.batch(week).out
    assert "ALLOW_ALIKE=on" in saved.out
    allowed = harness.batch(None, "--confirm", "--allow-alike")
    assert (allowed.code, len(harness.hinted())) == (0, 2)
    harness.batch(f"{HEADER}\n{rows.format('88001', 'MAY-2')}", "--confirm", "--allow-alike")
    assert len(harness.hinted()) == 4


def test_alike_numbers_are_found_by_an_index(harness: Harness) -> None:
    """Not by reading the whole table for every chunk of rows."""
    harness.batch(GOOD, "--confirm")
    with harness._engine.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        values = {"account": ACCOUNT, "keys": ["a-1"]}
        plan = connection.execute(text(f"EXPLAIN {_ALIKE}"), values).scalars().all()
    assert any("payout_alike_idx" in line for line in plan)


def test_a_request_is_compared_by_the_index_before_the_table_has_statistics(
    harness: Harness,
) -> None:
    """Within its INSERT; a plan that reads the table would do so for every request."""
    rows = '[{"nth": 0, "epay_account": "a", "merchant_order_no": "1", "order_scope": ""}]'
    values = {"rows": rows, "events": "[]", "messages": "[]", "allow_alike": "false"}
    many = "".join(f"n-{nth},10.50,USD,11,U1234567\n" for nth in range(2000))
    for _ in range(2):
        with harness._engine.connect() as connection:
            plan = connection.execute(text(f"EXPLAIN {INSERT}"), values).scalars().all()
        assert any("payout_alike_idx" in line for line in plan)
        assert harness.batch(f"{HEADER}\n{many}", "--confirm").code == 0


@given(st.from_regex(r"\A[A-Za-z0-9._-]{1,12}\Z"))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_database_knows_alike_numbers_as_the_code_does(harness: Harness, number: str) -> None:
    """The expression of the index is `without_ruin`."""
    for order_no in (number, f"00{number}", f"{number}.0", f"{number}.00"):
        (row,) = harness.sql(f"SELECT {WITHOUT_RUIN.replace('merchant_order_no', repr(order_no))}")
        assert row[0] == without_ruin(order_no)


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


def test_account_numbers_are_locked(harness: Harness) -> None:
    """As the workers' key says; and run again there is no conflict."""
    key = new_key()
    assert harness.batch(GOOD, "--confirm", ACCOUNT_ENCRYPTION_KEYS=key).code == 0
    (stored, *_) = [
        row.account_no for row in harness.sql("SELECT account_no FROM payout ORDER BY id")
    ]
    assert stored.startswith("fernet:")
    assert AccountCipher([key]).decrypt(stored) == SECRET
    assert "3 already there" in harness.batch(None, ACCOUNT_ENCRYPTION_KEYS=key).out


def test_without_a_broker_all_is_accepted_and_due(harness: Harness) -> None:
    """Nothing waits for a lease that nobody holds, beyond the chunk in which it was noticed."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    ran = harness.batch(GOOD, "--confirm", REDIS_URL=nowhere)
    assert ran.code == 0
    assert "accepted no wake-up message for 3 payouts" in ran.err
    assert len(harness.sql("SELECT id FROM payout WHERE due_at IS NOT NULL")) == 3


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


def test_the_redis_of_another_database_is_refused(harness: Harness) -> None:
    """Nothing is stored, and nothing is put on the broker."""
    deployment.pin(harness._engine)
    with redis.Redis.from_url(harness.redis_url) as client:
        client.hset(KEY, "database", "another")
        ran = harness.batch(GOOD, "--confirm")
        client.delete(KEY)
    assert ran.code == 2
    assert "nothing was sent: Redis at REDIS_URL is used with another database" in ran.err
    assert harness.sql("SELECT id FROM payout") == []
    assert harness.hinted() == []


@pytest.fixture
def two_thousand(harness: Harness) -> BatchFile:
    return make_batch(harness.file, 2000, "big")


def test_interrupted_and_run_again_each_good_row_is_there_once(
    harness: Harness, two_thousand: BatchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between two hints: what was committed stays, the rest follows, nothing twice."""
    hints: list[int] = []

    def impatient(_celery: object, payout_id: int) -> None:
        if len(hints) == 700:
            raise KeyboardInterrupt
        hints.append(payout_id)

    monkeypatch.setattr(command, "publish_submit", impatient)
    ran = harness.batch(None, "--confirm", "--skip-bad")
    assert ran.code == 130
    assert "Run the same command again for the rest: no payout is paid twice" in ran.err
    accepted = len(harness.sql("SELECT id FROM payout"))
    assert 0 < accepted < len(two_thousand.good)
    monkeypatch.setattr(
        command, "publish_submit", lambda _celery, payout_id: hints.append(payout_id)
    )
    again = harness.batch(None, "--confirm", "--skip-bad")
    assert again.code == 1
    assert f"{accepted} already there" in again.out
    numbers = [row.merchant_order_no for row in harness.sql("SELECT merchant_order_no FROM payout")]
    assert sorted(numbers) == two_thousand.good
    assert len(harness.sql("SELECT id FROM payout_event")) == len(two_thousand.good)
    assert len(hints) == len(set(hints))


def test_the_sweep_lets_a_big_batch_wait_in_the_queue(
    harness: Harness, two_thousand: BatchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would hand out all of it again, before everything else that is due."""
    monkeypatch.setattr(command, "publish_submit", lambda _celery, _payout_id: None)
    harness.batch(None, "--confirm", "--skip-bad")
    leases = [
        row.seconds
        for row in harness.sql(
            "SELECT extract(epoch FROM due_at - created_at)::float AS seconds"
            " FROM payout ORDER BY id"
        )
    ]
    assert leases[0] == 60
    assert leases == sorted(leases)
    assert 60 + 1400 / 50 < leases[-1] < 60 + 2000 / 50


def test_with_the_broker_gone_in_the_middle_the_rest_is_due_at_once(
    harness: Harness, two_thousand: BatchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refusal is enough: no hint is tried again, and the sweep needs none."""
    tried: list[int] = []

    def failing(_celery: object, payout_id: int) -> None:
        tried.append(payout_id)
        if len(tried) == 700:
            raise ConnectionError

    monkeypatch.setattr(command, "publish_submit", failing)
    ran = harness.batch(None, "--confirm", "--skip-bad")
    assert f"accepted no wake-up message for {len(two_thousand.good) - 699} payouts" in ran.err
    assert len(tried) == 700
    assert len(harness.sql("SELECT id FROM payout WHERE due_at = created_at")) > 900


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
