"""`payouts list`: every filter, the two formats for programs, and refused requests."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, text

from shared.clock import utcnow
from shared.storage.payout_store import PayoutStore
from shared.storage.refused_requests import Refusal
from tests.support.commands import ACCOUNT_NO, flagged, queued, unknown


def test_list_finds_by_every_filter(run: Any, engine: Engine) -> None:
    """Newest first; each filter leaves what fits it."""
    queued(engine, "first", age=timedelta(days=3))
    second = unknown(engine, "second", age=timedelta(days=2)).created_at
    flagged(engine, queued(engine, "third", age=timedelta(days=1), currency="EUR"), "mismatch")
    queued(engine, "fourth", channel_code="16", due_at=None)
    queued(engine, "fifth", age=timedelta(0), epay_account="other@example.com")
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE payout SET due_at = now() + interval '1 h' WHERE status <> 'unknown'")
        )

    def found(*options: str) -> list[str]:
        ran = run("list", "--json", *options)
        assert (ran.code, ran.err) == (0, "")
        return [row["merchant_order_no"] for row in json.loads(ran.out)]

    everything = ["fifth", "fourth", "third", "second", "first"]
    assert found() == everything
    assert found("--status", "unknown") == ["second"]
    assert found("--status", "unknown", "--status", "queued") == everything
    assert found("--review") == found("--review-code", "mismatch") == ["third"]
    assert found("--review-code", "books") == []
    assert found("--currency", "EUR") == ["third"]
    assert found("--channel", "16") == ["fourth"]
    assert found("--account", "other@example.com") == ["fifth"]
    assert found("--account", " Other@EXAMPLE.com") == ["fifth"], "another spelling"
    assert run("show", "fifth", "--account", "Other@EXAMPLE.com").code == 0
    assert found("--due") == ["second"]
    assert found("--since", str(second.date()))[-1] == "second"
    assert found("--until", str(second.date())) == ["second", "first"]
    assert found("--until", (second - timedelta(minutes=1)).isoformat()) == ["first"]
    assert found("--limit", "0") == everything


def test_list_says_when_there_is_more(run: Any, engine: Engine) -> None:
    """On stderr, so that what reads stdout reads on."""
    for nth in range(3):
        queued(engine, f"order-{nth}")
    ran = run("list", "--json", "--limit", "2")
    assert len(json.loads(ran.out)) == 2
    assert "more than 2" in ran.err
    assert run("list", "--limit", "3").err == ""


def test_list_masks_and_prints_a_table(run: Any, engine: Engine) -> None:
    flagged(engine, queued(engine, "order-1"), "above_cap")
    ran = run("list")
    assert "order-1" in ran.out
    assert "10.50 USD" in ran.out
    assert "*******7890" in ran.out
    assert "above_cap" in ran.out
    assert ACCOUNT_NO not in ran.out
    assert run("list", "--currency", "XXX").out == "No payout matches.\n"


def test_list_as_csv_is_safe_in_a_spreadsheet(run: Any, engine: Engine) -> None:
    """A cell that would be a formula is none; account numbers are masked."""
    flagged(engine, queued(engine, "=1+2"), "mismatch")
    ran = run("list", "--csv")
    [row] = csv.DictReader(io.StringIO(ran.out))
    assert row["merchant_order_no"] == "'=1+2"
    assert row["amount"] == "10.50"
    assert row["review_reason"] == "mismatch: in words"
    assert ACCOUNT_NO not in ran.out


WRONG_LISTS: list[tuple[list[str], str]] = [
    (["--since", "23.11.2026"], "--since 23.11.2026 is not an ISO date"),
    (["--until", "2026-13-01"], "--until"),
    (["--review-code", "misprint"], "is not one of abnormal, above_cap, "),
    (["--status", "lost"], "lost"),
    (["--limit", "-1"], "--limit"),
    (["--json", "--csv"], "exclude each other"),
]


def test_list_says_what_is_wrong(run: Any, engine: Engine) -> None:
    for options, words in WRONG_LISTS:
        ran = run("list", *options)
        assert ran.code == 2, options
        assert words in ran.err
        assert "Traceback" not in ran.err


def test_list_shows_refused_requests(run: Any, engine: Engine) -> None:
    """The last refused first, as a table or as JSON."""
    assert run("list", "--refused").out == "No refused request matches.\n"
    for nth in range(3):
        refusal = Refusal(
            at=utcnow() - timedelta(days=nth),
            source="gen1@shop",
            merchant_order_no=f"order-{nth}",
            account_no="*******7890",
            code="missing_field",
            field="amount",
            message="Field required",
        )
        PayoutStore(engine).record_refused_request(refusal)
    ran = run("list", "--refused", "--limit", "2")
    assert "more than 2" in ran.err
    for words in ("order-2", "order-1", "*******7890", "gen1@shop", "amount: Field required"):
        assert words in ran.out, words
    assert "order-0" not in ran.out
    found = json.loads(run("list", "--refused", "--json", "--since", f"{utcnow():%F}").out)
    assert [(row["merchant_order_no"], row["code"]) for row in found] == [
        ("order-0", "missing_field")
    ]
    ran = run("list", "--refused", "--status", "queued")
    assert ran.code == 2
    assert "--refused goes with" in ran.err
