"""Whatever a caller puts into `payouts.request`: no surprise, and no money for a wrong message.

FUZZ_REQUESTS is how many messages, FUZZ_SEED their seed. A failing case names its seed and its
number; FUZZ_CASE=<number> plays that one alone.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import Engine, text

from shared.contract import STATUS_CONFLICT, STATUS_INVALID
from shared.domain.gateway import CreateOrder, OrderAnswer, Report
from shared.domain.payout import Status
from shared.domain.policy import Policy
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.security.request_cases import SEED, Case
from tests.security.request_oracle import ACCOUNT, FIELDS, is_notify, is_valid
from tests.simulation.memory_store import MemoryStore
from tests.support.send_guard import AllowAll
from worker.context import Context
from worker.jobs.request import request

COUNT = int(os.environ.get("FUZZ_REQUESTS", "8000"))
ONLY = os.environ.get("FUZZ_CASE")
NUMBERS = [int(ONLY)] if ONLY else range(COUNT)
SAMPLE = 300

CODES = {
    "missing_field",
    "unknown_field",
    "unknown_account",
    "invalid_request",
    *(f"invalid_{name}" for name in FIELDS),
}
"""Every code with which a request can be refused. Requesting apps rely on them: they only grow."""

PLAIN = re.compile(r"[A-Za-z_]{0,40}\d{0,3}|\(a name that is not repeated\)")
"""A part of a field's name, as it may be given back."""

WORDS = re.compile(
    r"Field required|Extra inputs are not permitted|has more than 100 kwargs"
    r"|Input should be a valid (string|dictionary|tuple)"
    r"|Input should be a valid dictionary or instance of Notify"
    r"|Input should be a valid string, unable to parse raw data as a unicode string"
    r"|Input should be 'accepted' or 'final'"
    r"|String should have at (most|least) \d+ characters?"
    r"|String should match pattern '\^[^']+\$'"
    r"|Tuple should have at least 1 item after validation, not 0"
    r"|must be above zero|names a moment twice|is larger than 2048 bytes as JSON"
    r"|has more than 16 digits before the point"
    r"|has more than 2 decimal places: its point may separate thousands"
    r"|ends with \.0: a spreadsheet made a decimal number of it"
    r"|is a decimal number: a spreadsheet made it of the account"
    r"|has a letter or digit that only looks like a plain one \(A to Z, 0 to 9\)"
    r"|has a blank or one of , ; / \|: are there two accounts in it\?"
    r"|ends with \+ and a number: is an amount in it\?"
    r"|has a mark of a spreadsheet: ' or = at its begin, or a quotation mark"
    r"|is an error of a spreadsheet, like #N/A"
    r"|stands for an empty cell or a yes or no, like NULL, nan or TRUE"
    r"|is a time or a percentage: a spreadsheet made it of a number"
    r"|is a number with an exponent, like 4\.1E\+11: a spreadsheet cut its digits off"
    r"|is a date: a spreadsheet made it of a number"
    r"|begins or ends with white space"
    r"|has a control character, a line break or another character that cannot be printed"
    r"|is not the account that these workers serve; leave it out"
)
"""All that a refusal says in words: none of them repeats a value."""


@dataclass
class RecordingGateway:
    """A gateway that takes every order and writes down what it is sent."""

    sent: list[CreateOrder] = field(default_factory=list)

    def create(self, order: CreateOrder, **_: object) -> OrderAnswer:
        self.sent.append(order)
        return Report(
            source="create",
            epay_account=ACCOUNT,
            merchant_order_no=order.merchant_order_no,
            epay_order_no="E1",
            status="1",
            amount=Decimal(order.amount),
            currency=order.currency,
        )

    def query(self, merchant_order_no: str) -> OrderAnswer:
        raise AssertionError(f"nobody asked to query {merchant_order_no}")


@dataclass
class Harness:
    """One worker's harness: a store, a gateway, and requests laid upon it."""

    store: Any = field(default_factory=MemoryStore)
    gateway: RecordingGateway = field(default_factory=RecordingGateway)

    def ask(self, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        ctx = Context(
            account=ACCOUNT,
            policy=Policy(),
            total_timeout=timedelta(seconds=5),
            store=self.store,
            gateway=self.gateway,
            query_many=lambda _orders, _max_wait: iter(()),
            publish=self._nothing_else,
            publish_outcome=self._nothing_else,
            database_retry=self,
            send_guard=AllowAll(),
            refusal_pause=None,  # type: ignore[arg-type]  # a request asks no control
        )
        return request(ctx, kwargs, "claim")

    def run(self, body: Callable[[], Any]) -> Any:
        """The max_wait of who waits for nothing."""
        return body()

    @staticmethod
    def _nothing_else(*_: object) -> None:
        raise AssertionError("a request publishes nothing by itself")


def check_refused(kwargs: Mapping[str, Any], result: Mapping[str, Any], harness: Harness) -> str:
    """Nothing stored, nothing sent, told under a code that stays; the code."""
    error = result["error"]
    assert set(result) == {"merchant_order_no", "status", "duplicate", "error"}
    assert (result["status"], result["duplicate"]) == (STATUS_INVALID, False)
    assert error["code"] in CODES, error
    assert WORDS.fullmatch(error["message"]), error
    assert all(map(PLAIN.fullmatch, error["field"].split("."))), error
    assert harness.gateway.sent == []
    assert harness.store.rows == {}
    notify = kwargs.get("notify")
    told = [outgoing.message for outgoing in harness.store.outbox]
    if not is_notify(notify):
        assert told == []
        return str(error["code"])
    (message,) = told
    assert (message.task, message.queue) == (notify["task"], notify["queue"])
    assert (message.kwargs["status"], message.kwargs["error"]) == (STATUS_INVALID, error)
    json.dumps(message.kwargs, ensure_ascii=False).encode()  # what PostgreSQL and Redis can hold
    return str(error["code"])


def check_accepted(kwargs: Mapping[str, Any], result: Mapping[str, Any], harness: Harness) -> None:
    """Sent once, as asked to the last digit; stored as sent; a receipt for who wants one."""
    assert result == {
        "merchant_order_no": kwargs["merchant_order_no"],
        "status": Status.PROCESSING,
        "duplicate": False,
    }
    (order,) = harness.gateway.sent
    assert Fraction(order.amount) == Fraction(kwargs["amount"])
    assert re.fullmatch(r"\d+\.\d\d", order.amount)
    (row,) = harness.store.rows.values()
    for held in (order, row):
        for name in FIELDS[2:7]:
            assert getattr(held, name) == kwargs.get(name), name
    assert (row.epay_account, row.amount) == (ACCOUNT, Decimal(order.amount))
    wants = (kwargs.get("notify") or {}).get("on", [])
    assert len(harness.store.outbox) == ("accepted" in wants)


def check_again(kwargs: Mapping[str, Any], harness: Harness) -> None:
    """The same again pays nothing; neither does another amount under the same number."""
    again = harness.ask(kwargs)
    assert (again["status"], again["duplicate"]) == (Status.PROCESSING, True)
    conflict = harness.ask({**kwargs, "amount": "0.07"})
    if Fraction(kwargs["amount"]) != Fraction("0.07"):
        assert (conflict["status"], conflict["error"]["code"]) == (STATUS_CONFLICT, "conflict")
        assert (
            conflict["error"]["message"]
            == "merchant_order_no stands for a payout with another amount"
        )
    assert len(harness.gateway.sent) == 1


def play(case: Case) -> str:
    harness = Harness()
    result = harness.ask(case.kwargs)
    if not is_valid(case.kwargs):
        return check_refused(case.kwargs, result, harness)
    check_accepted(case.kwargs, result, harness)
    check_again(case.kwargs, harness)
    return "accepted"


def test_no_money_for_a_wrong_message(capsys: pytest.CaptureFixture[str]) -> None:
    """Refused under a code of a closed set, or sent once exactly as asked; never a raise."""
    ends: Counter[str] = Counter()
    began = time.monotonic()
    for case in map(Case, NUMBERS):
        try:
            ends[play(case)] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is to be found again
            pytest.fail(f"{about(case)}: {error!r}")
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{ends.total()} requests, {seconds:.1f} s, seed {SEED}: {dict(ends)}")  # noqa: T201
    if not ONLY:
        assert set(ends) == CODES | {"accepted"}


def about(case: Case) -> str:
    """How to play a case again, and what it is."""
    return f"FUZZ_SEED={SEED} FUZZ_CASE={case.number} {case.kwargs!r}"[:2000]


def test_what_is_accepted_fits_the_tables(database_url: str) -> None:
    """What the checks let through PostgreSQL stores to the last digit; what is refused is told."""
    engine = make_engine(database_url, pool_size=1)
    left = Counter(accepted=SAMPLE, refused=SAMPLE // 2)
    try:
        for case in map(Case, range(100 * SAMPLE)):
            kind = "accepted" if is_valid(case.kwargs) else "refused"
            if left[kind] and (kind == "accepted" or is_notify(case.kwargs.get("notify"))):
                left[kind] -= 1
                check_on_disk(engine, case, kind)
            if not left.total():
                break
    finally:
        engine.dispose()
    assert not left.total()


def check_on_disk(engine: Engine, case: Case, kind: str) -> None:
    """The row as it was asked for; or none, and the message that says why."""
    kwargs = dict(case.kwargs)
    if kind == "accepted":  # a number of its own: two cases may have drawn the same short one
        kwargs["merchant_order_no"] = f"{case.number}-{kwargs['merchant_order_no']}"[:64]
    harness = Harness(store=PayoutStore(engine))
    try:
        result = harness.ask(kwargs)
    except Exception as error:  # noqa: BLE001 - see above
        pytest.fail(f"{about(case)}: {error!r}")
    row = harness.store.find(ACCOUNT, result["merchant_order_no"])
    if kind == "refused":
        with engine.connect() as connection:
            newest = text("SELECT kwargs FROM payout_outbox ORDER BY id DESC LIMIT 1")
            message = connection.execute(newest).scalar_one()
        assert (message["status"], message["error"]) == (STATUS_INVALID, result["error"]), about(
            case
        )
        assert (row, harness.gateway.sent) == (None, []), about(case)
        return
    (order,) = harness.gateway.sent
    assert row is not None, about(case)
    assert (row.status, row.amount) == (Status.PROCESSING, Decimal(order.amount)), about(case)
    for name in FIELDS[2:7]:
        assert getattr(row, name) == kwargs.get(name), about(case)
