"""`payouts batch` and order numbers that a spreadsheet ruined."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from shared.identifiers import without_ruin
from shared.storage.bulk_insert import _ALIKE
from shared.storage.statements import INSERT
from shared.storage.tables import WITHOUT_RUIN
from tests.support.batch_harness import GOOD, Harness
from tests.support.batch_rows import ACCOUNT, HEADER


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
