"""`payouts.request`: accepted once, sent once, whoever asks how often; laws 1, 2 and 9."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from devstack.ports import free_port
from sandbox.faults import Fault
from shared.domain.payout import PayoutState, Status, Transition
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.epay.transport import TOO_LATE
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.support.factories import request_kwargs
from tests.support.jobs import (
    ACCOUNT,
    NOTIFY,
    HookedGateway,
    ask_epay,
    claim_id,
    freeze_clock,
    kinds,
    of_ledger,
    outbox,
    tick,
    until_epay_says,
)
from worker.database_retry import DatabaseRetry
from worker.jobs.request import NumberNotStored, request

if TYPE_CHECKING:
    from tests.integration.conftest import MakeWorld, World

KWARGS = request_kwargs()


def rows(world: World) -> int:
    return int(world.sql("SELECT count(*) FROM payout")[0][0])


def test_a_payout_is_accepted_and_sent(world: World) -> None:
    """One request: one row, one create, two events."""
    assert world.ask() == {
        "merchant_order_no": "order-1",
        "status": "processing",
        "duplicate": False,
    }
    assert of_ledger(world)["creates_received"] == 1
    assert kinds(world) == ["accepted", "create_report"]
    assert world.row().epay_order_no is not None
    assert world.row().attempts == 1


def test_all_that_was_asked_for_reaches_epay(world: World) -> None:
    """Amount, currency, remark and extend_fields are sent as they were asked for."""
    world.ask(amount="7", currency="EUR", remark="for May", extend_fields={"shop": "nine"})
    order = world.gateway.book.find("order-1")
    assert order is not None
    assert (str(order.amount), order.currency, order.remark) == ("7.00", "EUR", "for May")
    assert order.extend_fields == '{"shop":"nine"}'


def test_asked_five_times_at_once_it_is_sent_once(world: World) -> None:
    """Five messages side by side and one after the end: one create, one row, today's status."""
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: world.ask(), range(5)))
    assert sorted(answer["duplicate"] for answer in answers) == [False, True, True, True, True]
    assert {answer["status"] for answer in answers} <= {"submitting", "processing"}
    until_epay_says(world, "7")
    ask_epay(world)
    answers = [world.ask() for _ in range(5)]
    assert (
        answers == [{"merchant_order_no": "order-1", "status": "succeeded", "duplicate": True}] * 5
    )
    ledger = of_ledger(world)
    assert (ledger["creates_received"], ledger["payments"], rows(world)) == (1, 1, 1)


def test_a_number_that_is_taken_by_nothing_ends_in_words(world: World) -> None:
    """A damaged index: the insert is refused, and no payout is found. Nothing is sent."""
    tries: list[Any] = []

    class Refusing(PayoutStore):
        def insert(self, transitions: Sequence[Transition]) -> list[PayoutState | None]:
            tries.append(transitions)
            return [None]

    world.context = replace(world.context, store=Refusing(world.engine))
    with pytest.raises(NumberNotStored, match="order number order-1 as taken 3 times"):
        world.ask()
    assert len(tries) == 3
    assert of_ledger(world)["creates_received"] == 0


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("amount", "10.51"),
        ("currency", "EUR"),
        ("channel_code", "12"),
        ("account_no", "U1234567891"),
        ("remark", "another"),
        ("extend_fields", {"another": "shop"}),
    ],
)
def test_the_same_number_with_another_field_is_a_conflict(
    world: World, field: str, other: Any
) -> None:
    """Nothing is sent, the app is told which field, an event says so, the payout stands."""
    world.ask()
    before = world.row()
    answer = world.ask(**{field: other}, notify=NOTIFY)
    assert (answer["status"], answer["duplicate"]) == ("conflict", True)
    assert (answer["error"]["code"], answer["error"]["field"]) == ("conflict", field)
    assert of_ledger(world)["creates_received"] == 1
    [told] = outbox(world)
    assert (told["status"], told["error"]) == ("conflict", answer["error"])
    assert told["sequence"] is None
    assert told["stands"] == {
        "status": "processing",
        "amount": "10.50",
        "currency": "USD",
        "sequence": before.sequence + 1,
    }
    assert "U123" not in str(told), "the account numbers are nobody's business"
    event = world.events()[-1]
    assert (event.kind, event.detail) == ("conflict", {"differing": field})
    after = world.row()
    assert (after.status, after.due_at, getattr(after, field)) == (
        before.status,
        before.due_at,
        getattr(before, field),
    )


def test_a_conflict_while_it_is_being_sent_does_not_lose_the_answer(world: World) -> None:
    """The row changes under the sender; its answer is recorded all the same."""

    def conflict(_order_no: str) -> None:
        world.ask(amount="99.00")

    inner = world.context
    world.context = replace(inner, gateway=HookedGateway(inner.gateway, conflict))
    assert world.ask()["status"] == "processing"
    assert kinds(world) == ["accepted", "conflict", "create_report"]
    assert of_ledger(world)["creates_received"] == 1


@pytest.mark.parametrize("amount", ["10.5", "10.50"])
def test_an_amount_is_compared_as_a_number(world: World, amount: str) -> None:
    """10.5 is 10.50, and no conflict."""
    world.ask()
    assert world.ask(amount=amount)["duplicate"] is True
    assert kinds(world) == ["accepted", "create_report"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": "0"}, "invalid_amount"),
        ({"amount": "10.505"}, "invalid_amount"),
        ({"amount": 10.5}, "invalid_amount"),
        ({"amount": "NaN"}, "invalid_amount"),
        ({"merchant_order_no": "a b"}, "invalid_merchant_order_no"),
        ({"merchant_order_no": None}, "invalid_merchant_order_no"),
        ({"account_no": ""}, "invalid_account_no"),
        ({"acount_no": "U1"}, "unknown_field"),
        ({"positional arguments": 1}, "unknown_field"),
        ({"epay_account": "other@epay.com"}, "unknown_account"),
    ],
)
def test_a_request_that_cannot_be_is_answered(
    world: World, changes: dict[str, Any], code: str
) -> None:
    """Nothing is stored or sent; result and message say what is wrong."""
    answer = world.ask(notify=NOTIFY, **changes)
    assert (answer["status"], answer["duplicate"]) == ("invalid", False)
    assert answer["error"]["code"] == code
    [told] = outbox(world)
    assert (told["status"], told["error"]) == ("invalid", answer["error"])
    assert rows(world) == 0
    assert world.gateway.ledger()["orders"] == {}


def test_a_missing_field_is_named(world: World) -> None:
    """A request without an amount says so; without a good `notify` nobody can be told."""
    kwargs = {name: value for name, value in KWARGS.items() if name != "amount"}
    answer = request(world.context, kwargs | {"notify": {"task": "t"}}, claim_id())
    assert answer["error"]["code"] == "missing_field"
    assert answer["error"]["field"] == "amount"
    assert outbox(world) == []


def test_a_refused_request_leaves_a_trace(world: World) -> None:
    """With or without `notify`; no account number in it, wherever the app wrote it."""
    number = KWARGS["account_no"]
    request(world.context, KWARGS | {"amount": "0"}, claim_id(), "gen1@shop\n")
    request(world.context, {"merchant_order_no": f"A-{number}", "account_no": number}, claim_id())
    request(world.context, {"account_no": 7, "merchant_order_no": ["\ud800"]}, claim_id())
    world.ask(epay_account="other@epay.com", notify=NOTIFY)
    found = world.sql("SELECT * FROM payout_refused ORDER BY id")
    assert [(row.source, row.merchant_order_no, row.account_no, row.code) for row in found] == [
        ("gen1@shop?", "order-1", "*******7890", "invalid_amount"),
        ("", "A-***", "*******7890", "missing_field"),
        ("", "", "", "invalid_merchant_order_no"),
        ("", "order-1", "*******7890", "unknown_account"),
    ]
    assert found[0].message == "must be above zero"
    assert not any(number in str(row) for row in found)
    assert rows(world) == 0


def test_a_valid_request_leaves_none(world: World) -> None:
    """Nor does a conflict: it is an event of its payout."""
    world.ask()
    world.ask(amount="11.00")
    assert world.sql("SELECT * FROM payout_refused") == []


def test_our_own_account_may_be_named(world: World) -> None:
    """An app that names the account that the workers serve gets its payout."""
    assert world.ask(epay_account=ACCOUNT)["status"] == "processing"


@pytest.mark.parametrize(
    ("moments", "statuses"),
    [
        (["accepted"], ["submitting"]),
        (["final"], ["succeeded"]),
        (["accepted", "final"], ["submitting", "succeeded"]),
    ],
)
def test_the_app_is_told_when_he_wants_to_be(
    world: World, moments: list[str], statuses: list[str]
) -> None:
    """`notify.on` chooses the receipt, the end, or both."""
    world.ask(notify=NOTIFY | {"on": moments})
    until_epay_says(world, "7")
    ask_epay(world)
    messages = outbox(world)
    assert [message["status"] for message in messages] == statuses
    assert messages[-1]["merchant_order_no"] == "order-1"
    if "final" in moments:
        assert messages[-1]["previous_status"] == "processing"
        assert (messages[-1]["amount"], messages[-1]["fee"]) == ("10.50", "0.1")


def test_a_receipt_is_given_again(world: World) -> None:
    """A duplicate gets a receipt with today's status: the first may be lost with the broker."""
    notify = NOTIFY | {"on": ["accepted"]}
    world.ask(notify=notify)
    world.ask(notify=notify)
    until_epay_says(world, "7")
    ask_epay(world)
    world.ask(notify=notify)
    messages = outbox(world)
    assert [told["status"] for told in messages] == ["submitting", "processing", "succeeded"]
    assert [told["sequence"] for told in messages] == [1, 2, 3]


def test_the_end_is_told_again(world: World) -> None:
    """Who wants the end alone, and asks again after it, is told it again; before it, nothing."""
    notify = NOTIFY | {"on": ["final"]}
    world.ask(notify=notify)
    world.ask(notify=notify)
    assert outbox(world) == []
    until_epay_says(world, "7")
    ask_epay(world)
    world.ask(notify=notify)
    assert [told["status"] for told in outbox(world)] == ["succeeded", "succeeded"]


class ReplyLost(PayoutStore):
    """A store whose first accept is committed and whose reply is then lost."""

    lost = 0

    def insert(self, steps: Sequence[Transition]) -> list[PayoutState | None]:
        accepted = super().insert(steps)
        if not self.lost:
            self.lost += 1
            raise OperationalError("INSERT", {}, ConnectionError("server closed the connection"))
        return accepted


class AnswerRefused(PayoutStore):
    """A store that cannot take the first answers to a create."""

    def __init__(self, engine: Engine, fails: int) -> None:
        super().__init__(engine)
        self.fails = fails

    def apply(self, step: Transition) -> PayoutState | None:
        if self.fails:
            self.fails -= 1
            raise OperationalError("UPDATE", {}, ConnectionError("server closed the connection"))
        return super().apply(step)


def test_the_reply_to_our_own_commit_may_be_lost(world: World) -> None:
    """The row that is then found is known by its claim, and is sent exactly once."""
    world.context = replace(world.context, store=ReplyLost(world.engine))
    claim = claim_id()
    answer = DatabaseRetry(10).run(lambda: request(world.context, KWARGS, claim))
    assert answer == {"merchant_order_no": "order-1", "status": "processing", "duplicate": False}
    assert of_ledger(world)["creates_received"] == 1
    assert kinds(world) == ["accepted", "create_report"]


def test_the_row_of_another_execution_is_not_sent(world: World) -> None:
    """Whoever finds the row under another's claim leaves it to him, and to the lease."""
    store = ReplyLost(world.engine)
    world.context = replace(world.context, store=store)
    with pytest.raises(OperationalError):
        request(world.context, KWARGS, "the first")
    answer = request(world.context, KWARGS, "the second")
    assert answer == {"merchant_order_no": "order-1", "status": "submitting", "duplicate": True}
    assert of_ledger(world)["creates_received"] == 0


def test_nothing_is_sent_when_the_lease_is_nearly_over(world: World) -> None:
    """A sender that was held up puts the payout back, and the sweep sends it."""
    clock = freeze_clock(world)
    late = clock.now + world.context.policy.lease - world.context.total_timeout
    times = iter([clock.now] * 2 + [late] * 2)
    world.context = replace(world.context, clock=lambda: next(times))
    assert world.ask()["status"] == "queued"
    payout = world.row()
    assert of_ledger(world)["creates_received"] == 0
    assert (payout.first_sent_at, kinds(world)) == (None, ["accepted", "never_sent"])
    clock.now = late + timedelta(seconds=5)
    world.context = replace(world.context, clock=clock)
    assert tick(world)["submit"] == 1
    assert of_ledger(world)["creates_received"] == 1
    assert world.row().status is Status.PROCESSING


def test_nothing_is_sent_when_the_lease_ends_before_the_first_byte(world: World) -> None:
    """A machine that is suspended between the check and the request: the wall clock says so."""
    clock = freeze_clock(world)
    wakes_late = HookedGateway(world.context.gateway, lambda _: clock.forward(60))
    world.context = replace(world.context, gateway=wakes_late)
    assert world.ask()["status"] == "queued"
    assert of_ledger(world)["creates_received"] == 0
    assert world.events()[-1].detail == {"reason": TOO_LATE}


def test_nothing_leaves_before_the_intent_is_on_disk(world: World) -> None:
    """Law 1: when the create arrives, another connection reads `submitting` and its lease."""
    clock = freeze_clock(world)
    seen: list[tuple[Any, ...]] = []

    def look(_order_no: str) -> None:
        statement = "SELECT status, due_at, claim_id FROM payout"
        seen.extend(tuple(row) for row in world.sql(statement))

    inner = world.context
    world.context = replace(inner, gateway=HookedGateway(inner.gateway, look))
    request(world.context, KWARGS, "my claim")
    assert seen == [("submitting", clock.now + inner.policy.lease, "my claim")]


def test_no_connection_is_held_while_the_create_is_under_way(
    world: World, database_url: str
) -> None:
    """Law 9: with one connection in all, others get through while EPAY takes its time."""
    engine = make_engine(database_url, pool_size=1)
    world.engine = engine
    inner = world.context
    slow = HookedGateway(inner.gateway, lambda _: world.sql("SELECT 1"))
    world.context = replace(inner, store=PayoutStore(engine), gateway=slow)
    try:
        assert world.ask()["status"] == "processing"
    finally:
        engine.dispose()


UNKNOWN_AFTER = {
    Fault.ACCEPT_THEN_SILENCE: "read timeout",
    Fault.ACCEPT_THEN_CLOSE: "connection lost or answer garbled",
    Fault.ACCEPT_THEN_500: "http status 500",
    Fault.ACCEPT_THEN_RUBBISH: "answer is not JSON",
    Fault.DROP_BEFORE_ACCEPTING: "connection lost or answer garbled",
    Fault.WRONG_RESPONSE_SIGNATURE: "answer bears a wrong signature",
    Fault.SLOW: "read timeout",
    Fault.DOWN: "connection lost or answer garbled",
}
NOT_SENT = {Fault.DROP_BEFORE_ACCEPTING, Fault.DOWN}


@pytest.mark.parametrize("fault", list(Fault))
def test_what_a_request_comes_to_under_each_fault(make_world: MakeWorld, fault: Fault) -> None:
    """Law 2: whatever may have arrived is unknown, is asked about, and is never sent again."""
    world = make_world(read_timeout=0.3 if UNKNOWN_AFTER.get(fault) == "read timeout" else 30)
    status = world.ask(remark=f"sandbox:{fault}")["status"]
    if fault is Fault.REFUSE:
        assert status == "rejected"
        return
    assert status == ("unknown" if fault in UNKNOWN_AFTER else "processing")
    if fault in UNKNOWN_AFTER:
        assert world.events()[-1].detail == {"reason": UNKNOWN_AFTER[fault]}
    if fault in NOT_SENT:
        assert of_ledger(world)["creates_accepted"] == 0
        world.gateway.clear_faults()
        assert ask_epay(world).status is Status.UNKNOWN
    elif fault in UNKNOWN_AFTER:
        until_epay_says(world, "7")
        assert ask_epay(world).status is Status.SUCCEEDED
        assert of_ledger(world)["payments"] == 1
    assert of_ledger(world)["creates_received"] == 1


def test_what_provably_never_left_is_sent_again(world: World) -> None:
    """Law 2, the other half: a refused connection puts the payout back into the queue."""
    clock = freeze_clock(world)
    closed = EpayConfig(
        base_url=f"http://127.0.0.1:{free_port()}", account=ACCOUNT, api_key=SecretStr("TESTKEY123")
    )
    open_gateway = world.context.gateway
    world.context = replace(world.context, gateway=EpayClient(closed))
    assert world.ask()["status"] == "queued"
    payout = world.row()
    assert world.events()[-1].detail == {"reason": "connection refused"}
    assert (payout.first_sent_at, payout.attempts) == (None, 1)
    assert payout.due_at == clock.now + timedelta(seconds=2)
    world.context = replace(world.context, gateway=open_gateway)
    assert tick(world)["submit"] == 0
    clock.forward(2)
    tick(world)
    assert world.row().status is Status.PROCESSING
    assert of_ledger(world)["creates_received"] == 1


@pytest.mark.parametrize("fails", [1, 2])
def test_what_was_sent_is_not_sent_again_for_want_of_a_database(world: World, fails: int) -> None:
    """PostgreSQL goes away between the create and its answer: recorded later, sent once."""
    world.context = replace(world.context, store=AnswerRefused(world.engine, fails))
    claim = claim_id()
    answer = world.context.database_retry.run(lambda: request(world.context, KWARGS, claim))
    assert (answer["status"], of_ledger(world)["creates_received"]) == ("processing", 1)


def test_an_answer_that_is_never_written_is_asked_for(world: World) -> None:
    """PostgreSQL stays away: the lease makes the payout unknown, a query finds it, sent once."""
    clock = freeze_clock(world)
    away = replace(
        world.context, store=AnswerRefused(world.engine, 999), database_retry=DatabaseRetry(0.1)
    )
    claim = claim_id()
    answer = away.database_retry.run(lambda: request(away, KWARGS, claim))
    assert answer["status"] == "submitting"
    until_epay_says(world, "7")
    clock.forward(60)
    assert tick(world) == {"lapsed": 1, "submit": 0, "query": 1}
    assert world.row().status is Status.SUCCEEDED
    assert kinds(world) == ["accepted", "lease_over", "query_report"]
    assert (of_ledger(world)["creates_received"], of_ledger(world)["payments"]) == (1, 1)
