"""`payouts report`, as a person and a program run it, before the stand-in gateway."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from devstack.wait import wait_for
from ops.console import defused
from ops.daily_reconciliation.compare_day import Line, Pace
from ops.daily_reconciliation.csv_export import csv_lines
from sandbox.orders import Order
from sandbox.server import Gateway
from sandbox.settings import SandboxConfig
from shared.clock import utcnow
from shared.domain import lifecycle, reports
from shared.domain.daily_reconciliation import Comparison, Verdict
from shared.domain.gateway import CreateOrder, Report
from shared.domain.payout import PayoutState
from shared.domain.policy import Policy
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.storage import journal_audit
from shared.storage.encryption import NO_ENCRYPTION
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_service_payout
from tests.support.jobs import put_control_in

ACCOUNT = "test2020@epay.com"
ACCOUNT_NO = "U1234567890"
POLICY = Policy(not_found_codes=frozenset({"2001"}), refused_codes=frozenset({"2005"}))
NOW = utcnow().replace(hour=12)
"""What the command takes for now: its days do not end while the tests run."""
YESTERDAY = NOW - timedelta(days=1)
DAY = f"{YESTERDAY:%F}"


def a_payout(order_no: str, **changes: Any) -> PayoutState:
    return make_service_payout(order_no, YESTERDAY, **({"account_no": ACCOUNT_NO} | changes))


@dataclass
class Shop:
    """Yesterday's payouts, ours and EPAY's."""

    engine: Engine
    gateway: Gateway
    client: EpayClient
    environment: dict[str, str]

    def pay(self, order_no: str, **changes: Any) -> None:
        """A payout that was sent, and whose end we know from a query."""
        store, payout = PayoutStore(self.engine), a_payout(order_no, **changes)
        sent = lifecycle.accept(payout, claim_id="c", now=YESTERDAY, policy=POLICY)
        (claimed,) = store.insert([sent])
        assert claimed is not None
        order = CreateOrder(order_no, f"{payout.amount}", payout.currency, "11", ACCOUNT_NO)
        self.client.create(order)
        wait_for(lambda: self.order(order_no).status == "7", 60, f"{order_no} to be paid")
        step = reports.on_query_answer(
            claimed,
            self.client.query(order_no),
            asked_at=YESTERDAY,
            now=YESTERDAY,
            policy=POLICY,
            jitter=0.0,
        )
        assert step is not None
        assert store.apply(step) is not None

    def queue(self, order_no: str) -> None:
        PayoutStore(self.engine).insert(
            [lifecycle.accept_queued(a_payout(order_no), now=YESTERDAY)]
        )

    def order(self, order_no: str) -> Order:
        found = self.gateway.book.find(order_no)
        assert found is not None
        return found

    def count(self, what: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {what}")).scalar_one())


@pytest.fixture
def shop(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr("ops.commands.report.utcnow", lambda: NOW)
    engine = make_engine(database_url, pool_size=1)
    with Gateway(SandboxConfig(pay_after=0.01)) as gateway:
        config = EpayConfig(gateway.base_url, ACCOUNT, SecretStr("TESTKEY123"))
        client = EpayClient(config)
        environment = {
            "DATABASE_URL": database_url,
            "EPAY_BASE_URL": gateway.base_url,
            "EPAY_ACCOUNT": ACCOUNT,
            "EPAY_API_KEY": "TESTKEY123",
            "EPAY_NOT_FOUND_CODES": "2001",
        }
        yield Shop(engine, gateway, client, environment)
        client.close()
    engine.dispose()


def test_books_that_agree(shop: Shop, payouts: Callable[..., Any]) -> None:
    """Yesterday unless another day is named; sums of both sides, exit 0, nothing written."""
    shop.pay("order-1")
    shop.pay("order-2", amount=Decimal("1.25"), currency="EUR")
    shop.queue("order-3")
    events = shop.count("payout_event")
    ran = payouts("report", **shop.environment)
    assert (ran.code, ran.err) == (0, "")
    rows = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert {"succeeded USD ours 1 10.50 0.10", "succeeded USD EPAY 1 10.50 0.10"} <= set(rows)
    assert {"succeeded EUR ours 1 1.25 0.10", "succeeded EUR EPAY 1 1.25 0.10"} <= set(rows)
    assert {"queued USD ours 1 10.50 0.00", "queued USD EPAY 0 0.00 0.00"} <= set(rows)
    assert {"no such order USD ours 0 0.00 0.00", "no such order USD EPAY 1 0.00 0.00"} <= set(rows)
    assert "3 payouts queried: 3 agreed, 0 different, 0 not answered." in ran.out
    assert "The daily comparison has not run for this day." in ran.out
    assert DAY in ran.out
    assert shop.count("payout_event") == events
    assert payouts("report", "--day", f"{NOW:%F}", **shop.environment).code == 0


def test_books_that_differ(
    shop: Shop, payouts: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 and each in words; read-only unless --record, and then once however often."""
    for number in range(3):
        shop.pay(f"order-{number}")
    shop.order("order-1").fee = Decimal("0.70")
    shop.gateway.report("order-2", "6", callback=False)
    events = shop.count("payout_event")
    path = tmp_path / "day.csv"
    ran = payouts("report", "--day", DAY, "--csv", str(path), **shop.environment)
    assert ran.code == 1
    assert "DIFFERS: order-1: fee 0.7 instead of 0.1\n" in ran.out
    assert "DIFFERS: order-2: EPAY says failed (status 6), and it is succeeded\n" in ran.out
    assert shop.count("payout_event") == events
    assert shop.count("payout WHERE review_reason IS NOT NULL") == 0

    lines = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [line["merchant_order_no"] for line in lines] == ["order-0", "order-1", "order-2"]
    assert [line["verdict"] for line in lines] == ["agreed", "differs", "differs"]
    assert [line["epay_fee"] for line in lines] == ["0.1", "0.7", "0.1"]
    assert (lines[2]["status"], lines[2]["epay_status"]) == ("succeeded", "6")
    assert ACCOUNT_NO not in path.read_text() + ran.out

    for _ in range(2):
        recorded = payouts("report", "--day", DAY, "--record", "--json", **shop.environment)
        assert recorded.code == 1
        assert shop.count("payout_event") == events + 2
    found = json.loads(recorded.out)
    assert found["differences"][0] == {
        "merchant_order_no": "order-1",
        "status": "succeeded",
        "words": ["fee 0.7 instead of 0.1"],
    }
    assert (found["agreed"], found["differs"], found["unanswered"]) == (1, 2, 0)
    both = {row["status"]: (row["ours"], row["epay"]) for row in found["totals"]}
    assert both["succeeded"] == (
        {"count": 3, "amount": "31.50", "fee": "0.3"},
        {"count": 2, "amount": "21.00", "fee": "0.8"},
    )
    assert both["failed"][1] == {"count": 1, "amount": "10.50", "fee": "0.1"}
    assert shop.count("payout WHERE review_reason IS NOT NULL") == 2
    assert all(one is None for one in journal_audit.audit_chains(shop.engine, NO_ENCRYPTION))


def test_what_only_ended_on_the_day_is_compared_and_not_summed(
    shop: Shop, payouts: Callable[..., Any]
) -> None:
    """So each payout is in the sums of one day, and in the comparison of two."""
    shop.pay("order-1")
    shop.pay("earlier")
    shop.order("earlier").fee = Decimal("0.70")
    with shop.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE payout SET created_at = created_at - interval '2 days'"
                " WHERE merchant_order_no = 'earlier'"
            )
        )
    ran = payouts("report", **shop.environment)
    assert ran.code == 1
    rows = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert {"succeeded USD ours 1 10.50 0.10", "succeeded USD EPAY 1 10.50 0.10"} <= set(rows)
    assert "DIFFERS: earlier: fee 0.7 instead of 0.1" in rows
    assert "2 payouts queried: 1 agreed, 1 different, 0 not answered." in rows
    assert f"Accepted earlier, ended on {DAY}: 1 payout, compared but not summed." in rows
    found = json.loads(payouts("report", "--json", **shop.environment).out)
    assert (found["accepted_earlier"], found["totals"][0]["ours"]["count"]) == (1, 1)
    day = f"{YESTERDAY - timedelta(days=2):%F}"
    accepted = json.loads(payouts("report", "--day", day, "--json", **shop.environment).out)
    assert (accepted["accepted_earlier"], accepted["totals"][0]["ours"]["count"]) == (0, 1)


def test_csv_on_stdout_stands_alone(shop: Shop, payouts: Callable[..., Any]) -> None:
    """What people read goes to stderr; no bar goes into a pipe."""
    shop.pay("order-1")
    ran = payouts("report", "--csv", "-", **shop.environment)
    assert ran.code == 0
    (line,) = csv.DictReader(io.StringIO(ran.out))
    assert (line["merchant_order_no"], line["amount"]) == ("order-1", "10.50")
    assert "1 agreed" in ran.err
    assert "querying EPAY" not in ran.err


def test_a_sample_and_our_own_sums(shop: Shop, payouts: Callable[..., Any]) -> None:
    """--sample asks for so many, and for the control; --ours-only for none."""
    put_control_in(PayoutStore(shop.engine), shop.gateway)
    for number in range(6):
        shop.queue(f"order-{number}")
    begin = len(shop.gateway.log.since(0))
    found = json.loads(payouts("report", "--sample", "2", "--json", **shop.environment).out)
    assert found["agreed"] == 2
    assert len(shop.gateway.log.since(0)) == begin + 3
    environment = {name: shop.environment[name] for name in ("DATABASE_URL", "EPAY_ACCOUNT")}
    found = json.loads(payouts("report", "--ours-only", "--json", **environment).out)
    assert found["totals"] == [
        {
            "status": "queued",
            "currency": "USD",
            "ours": {"count": 6, "amount": "63.00", "fee": "0"},
        }
    ]
    assert len(shop.gateway.log.since(0)) == begin + 3
    assert " 63.00 " in payouts("report", "--ours-only", **environment).out


def test_what_the_daily_comparison_found_is_told(shop: Shop, payouts: Callable[..., Any]) -> None:
    """From its own table, whatever is found now."""
    with shop.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO payout_books VALUES (:account, :day, 9, 7, 2, 1, now(), now())"),
            {"account": ACCOUNT, "day": YESTERDAY.date()},
        )
    ran = payouts("report", **shop.environment)
    assert "7 agreed, 2 different, 1 not answered." in ran.out
    found = json.loads(payouts("report", "--json", **shop.environment).out)
    assert found["daily_run"]["differing"] == 2


def test_without_an_answer_the_books_are_not_called_good(
    shop: Shop, payouts: Callable[..., Any]
) -> None:
    """A code that nobody named as `no such order` leaves it open; a gateway away ends the walk."""
    shop.pay("order-1")
    shop.queue("order-2")
    environment = shop.environment | {"EPAY_NOT_FOUND_CODES": ""}
    ran = payouts("report", **environment)
    assert ran.code == 2
    assert "not answered: order-2: EPAY code 2001: " in ran.out
    assert "add the code to EPAY_NOT_FOUND_CODES" in ran.out
    shop.gateway.stop()
    ran = payouts("report", **shop.environment)
    assert ran.code == 2
    assert "EPAY answered none of the last 2 queries" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--day", "23.11.2026"], "--day 23.11.2026 is not a day: write it as "),
        (["--day", "2999-01-01"], "--day 2999-01-01 is in the future: today is "),
        (["--csv", "-", "--json"], "both want stdout"),
        (["--ours-only", "--record"], "leave --csv, --sample and --record out"),
        (["--csv", "no/such/folder/day.csv"], "cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said(
    shop: Shop, payouts: Callable[..., Any], arguments: list[str], words: str
) -> None:
    """One clear line, exit 2."""
    ran = payouts("report", *arguments, **shop.environment)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err


@pytest.mark.parametrize("text_", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_is_a_formula(text_: str) -> None:
    """Order numbers may begin with a hyphen, and EPAY's words with anything."""
    assert defused(text_) == f"'{text_}"
    assert (defused("a=1"), defused(None)) == ("a=1", "")
    file = io.StringIO()
    answer = Report("query", ACCOUNT, "-1", text_, "7", Decimal(-1), text_, None)
    line = Line(a_payout("-1"), answer, Comparison(Verdict.DIFFERS, (text_,)))
    csv_lines(file)(line)
    (row,) = csv.DictReader(io.StringIO(file.getvalue()))
    assert row["merchant_order_no"] == "'-1"
    assert row["words"] == row["epay_order_no"] == row["epay_currency"] == f"'{text_}"
    assert row["epay_amount"] == "-1"


def test_the_pace_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """EPAY_MAX_PER_SECOND holds for one command too: evenly, whoever waits."""
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 100 + sum(slept), sleep=slept.append)
    monkeypatch.setattr("ops.daily_reconciliation.compare_day.time", clock)
    pace = Pace(50)
    for _ in range(6):
        pace.wait()
    assert slept == pytest.approx([0, *[0.02] * 5])
    slept.clear()
    free = Pace(None)
    for _ in range(1000):
        free.wait()
    assert slept == []
