"""`payouts.callback`: what EPAY, or somebody who says so, reports; laws 5 and 6."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from pydantic import SecretStr
from werkzeug.serving import make_server

from devstack.wait import wait_for
from sandbox.faults import Fault
from shared.config.settings import Settings
from shared.contract import QUEUE_RECONCILE
from shared.domain.accounts import ConfiguredAccount, ConfiguredAccounts
from shared.domain.payout import Status
from shared.messaging.callback_message import CallbackMessage
from tests.support.jobs import (
    ACCOUNT,
    NOTIFY,
    ask_epay,
    callback_message,
    freeze_clock,
    kinds,
    of_ledger,
    outbox,
    put_queued,
    put_submitting,
    put_unknown,
    tick,
    until_due,
    until_epay_says,
)
from webhook import create_app
from worker.jobs.callback import callback

if TYPE_CHECKING:
    from tests.integration.conftest import MakeWorld, World


def strays(world: World) -> list[Any]:
    return world.sql("SELECT kind, detail FROM payout_event WHERE payout_id IS NULL ORDER BY id")


def test_a_callback_of_another_gateway_changes_no_status(world: World) -> None:
    """Law 10: one account at two hosts, an equal number and amount. The test host has paid it."""
    hosts = ("live.example", "test.example")
    accounts = tuple(ConfiguredAccount(ACCOUNT, host) for host in hosts)
    policy = replace(world.context.policy, accounts=ConfiguredAccounts(accounts, accounts[0]))
    world.context = replace(world.context, policy=policy)
    put_unknown(world, "order-1", epay_gateway="live.example")
    theirs = callback_message(gateways=["test.example"], epay_order_no="T1")
    assert callback(world.context, theirs) == "unknown"
    assert world.row().review_reason == (
        "mismatch: callback says gateway test.example instead of live.example"
    )
    assert world.row().epay_order_no is None
    assert kinds(world)[-1] == "callback_report"
    assert callback(world.context, callback_message(gateways=["live.example"])) == "succeeded"


def test_a_callback_of_an_earlier_release_names_no_gateway(world: World) -> None:
    put_unknown(world, "order-1", epay_gateway="gateway.example")
    assert callback(world.context, callback_message()) == "succeeded"


def test_a_signed_callback_ends_a_payout(world: World) -> None:
    """What is verified and agrees with the row is believed; the app is told."""
    clock = freeze_clock(world)
    world.ask(notify=NOTIFY | {"on": ["final"]})
    assert callback(world.context, callback_message(epay_order_no=None)) == "succeeded"
    payout = world.row()
    assert (payout.status, payout.finished_at, payout.due_at) == ("succeeded", clock.now, None)
    assert (world.events()[-1].kind, world.events()[-1].actor) == ("callback_report", "epay")
    assert [told["status"] for told in outbox(world)] == ["succeeded"]


@pytest.mark.parametrize(
    ("epay_status", "status"),
    [("5", "cancelled"), ("6", "failed"), ("8", "closed"), ("20", "failed_fee_kept")],
)
def test_every_end_that_is_called_back(world: World, epay_status: str, status: str) -> None:
    """Each of EPAY's other ends is ours, from the unknown too."""
    put_unknown(world, "order-1")
    assert callback(world.context, callback_message(status=epay_status)) == status


def test_a_callback_overtakes_the_answer_to_the_create(world: World) -> None:
    """A payout still being sent, or queued, is ended by EPAY's word."""
    put_submitting(world, "order-1")
    put_queued(world, "order-2")
    assert callback(world.context, callback_message()) == "succeeded"
    assert callback(world.context, callback_message("order-2")) == "succeeded"
    assert tick(world) == {"lapsed": 0, "submit": 0, "query": 0}


def test_the_same_callback_many_times_is_one_end(world: World) -> None:
    """Five at once: one end, one message, on record once, nothing to review."""
    put_unknown(world, "order-1", notify=NOTIFY)
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: callback(world.context, callback_message()), range(5)))
    assert answers == ["succeeded"] * 5
    assert kinds(world).count("callback_report") == 1
    assert [told["status"] for told in outbox(world)] == ["submitting", "succeeded"]
    assert world.row().review_reason is None


def test_a_callback_that_is_no_end_does_not_put_off_the_next_query(world: World) -> None:
    """Status 1 moves the payout; when to ask next stands."""
    freeze_clock(world)
    [payout] = put_unknown(world, "order-1")
    assert callback(world.context, callback_message(status="1")) == "processing"
    assert world.row().due_at == payout.due_at


def test_a_report_that_comes_late_takes_nothing_back(world: World) -> None:
    """Status 1 after status 7 is old news, not a contradiction."""
    put_unknown(world, "order-1")
    callback(world.context, callback_message())
    assert callback(world.context, callback_message(status="1")) == "succeeded"
    assert world.row().review_reason is None


@pytest.mark.parametrize("later", ["5", "6", "8", "20"])
def test_final_is_final(world: World, later: str) -> None:
    """Law 5: a contradiction is kept as an event and flagged; nothing is overwritten or told."""
    put_unknown(world, "order-1", notify=NOTIFY | {"on": ["final"]})
    callback(world.context, callback_message())
    before = world.row()
    assert callback(world.context, callback_message(status=later)) == "succeeded"
    after = world.row()
    assert after.review_reason is not None
    assert after.review_reason.startswith("contradiction: callback says")
    assert (after.status, after.finished_at, after.epay_status, after.fee) == (
        before.status,
        before.finished_at,
        before.epay_status,
        before.fee,
    )
    assert world.events()[-1].detail["epay_status"] == later
    assert len(outbox(world)) == 1
    callback(world.context, callback_message())
    assert world.row().review_reason == after.review_reason, "only a person settles it"


def test_a_rejected_payout_that_epay_paid_is_for_a_person(world: World) -> None:
    """Law 5: rejected is final too, and any sign of life of it is a contradiction."""
    world.ask(remark="sandbox:refuse")
    assert callback(world.context, callback_message(status="1")) == "rejected"
    reason = world.row().review_reason
    assert reason is not None
    assert reason.startswith("contradiction")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount": "11.50"}, "amount 11.50 instead of 10.50"),
        ({"amount": None}, "amount missing instead of 10.50"),
        ({"currency": "EUR"}, "currency EUR instead of USD"),
        ({"currency": None}, "currency missing instead of USD"),
        ({"epay_account": "x@epay.com"}, f"epayAccount x@epay.com instead of {ACCOUNT}"),
        ({"epay_account": None}, f"epayAccount missing instead of {ACCOUNT}"),
        ({"status": None}, "status missing"),
    ],
)
def test_a_callback_that_disagrees_moves_nothing(
    world: World, changes: dict[str, Any], words: str
) -> None:
    """Law 6: on record, under review, neither moved nor put off."""
    freeze_clock(world)
    [before] = put_unknown(world, "order-1", notify=NOTIFY | {"on": ["final"]})
    assert callback(world.context, callback_message(**changes)) == "unknown"
    after = world.row()
    assert after.review_reason == f"mismatch: callback says {words}"
    assert (after.due_at, after.epay_status, after.fee) == (before.due_at, None, None)
    assert world.events()[-1].detail["disagrees"] == words
    assert outbox(world) == []
    assert callback(world.context, callback_message()) == "succeeded"
    reason = world.row().review_reason
    assert reason is not None, "what disagreed once is for a person, whatever comes later"


def test_a_callback_with_other_decimals_agrees(world: World) -> None:
    """Law 6: decimals are compared as decimals."""
    put_unknown(world, "order-1")
    assert callback(world.context, callback_message(amount="10.5")) == "succeeded"


def test_a_callback_about_no_payout_of_ours_is_on_record(world: World) -> None:
    """Law 6: an unknown order: an event without a payout, and no row."""
    assert callback(world.context, callback_message("never-ours")) is None
    assert callback(world.context, callback_message("never-ours", verified=False)) is None
    assert [(row.kind, row.detail["merchant_order_no"]) for row in strays(world)] == [
        ("stray_callback", "never-ours"),
        ("stray_callback_unverified", "never-ours"),
    ]
    assert world.sql("SELECT count(*) FROM payout")[0][0] == 0


def test_an_unverified_callback_is_a_reason_to_ask(world: World) -> None:
    """Not believed: on record, and the next query comes at once and finds the truth."""
    clock = freeze_clock(world)
    world.ask()
    assert callback(world.context, callback_message(verified=False, status="6")) == "processing"
    event = world.events()[-1]
    assert (event.kind, event.actor, event.detail["status"]) == (
        "callback_unverified",
        "anybody",
        "6",
    )
    assert world.row().due_at == clock.now
    until_epay_says(world, "7")
    assert tick(world)["query"] == 1
    assert world.row().status is Status.SUCCEEDED


def test_an_unverified_callback_puts_nothing_off(world: World) -> None:
    """A payout overdue stays due; one that is queued, being sent or ended keeps its time."""
    clock = freeze_clock(world)
    [unknown] = put_unknown(world, "order-1")
    clock.forward(45)
    callback(world.context, callback_message(verified=False))
    assert world.row().due_at == unknown.due_at
    [sending] = put_submitting(world, "order-2")
    [queued] = put_queued(world, "order-3", due_at=clock.now)
    for payout in (sending, queued):
        no = payout.merchant_order_no
        assert callback(world.context, callback_message(no, verified=False)) == payout.status
        assert world.row(no).due_at == payout.due_at
    callback(world.context, callback_message())
    assert callback(world.context, callback_message(verified=False, status="6")) == "succeeded"
    assert world.row().review_reason is None


def test_nothing_of_a_callback_but_its_claims_is_stored(world: World) -> None:
    """The record of an unverified callback is bounded: the fields that a payout needs."""
    put_unknown(world, "order-1")
    callback(world.context, callback_message(verified=False))
    assert set(world.events()[-1].detail) == {
        "merchant_order_no",
        "epay_account",
        "epay_order_no",
        "status",
        "amount",
        "currency",
        "fee",
    }


@pytest.fixture
def webhook_url(redis_url: str) -> Iterator[str]:
    """The real webhook, with the real Redis behind it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    settings = Settings(
        _env_file=None,
        redis_url=redis_url,
        epay_account=ACCOUNT,
        epay_api_key=SecretStr("TESTKEY123"),
    )
    server = make_server("127.0.0.1", 0, create_app(settings), threaded=True)
    root.handlers[:], root.level = handlers, level
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/epay/callback"
    server.shutdown()
    thread.join()
    server.server_close()


def taken(redis_url: str) -> list[CallbackMessage]:
    """The messages for the workers, off the queue."""
    messages = []
    with redis.Redis.from_url(redis_url) as client:
        while raw := client.rpop(QUEUE_RECONCILE):
            _args, kwargs, _embed = json.loads(base64.b64decode(json.loads(raw)["body"]))
            messages.append(CallbackMessage.model_validate(kwargs))
    return messages


@pytest.mark.parametrize(
    ("fault", "callbacks", "reason"),
    [
        (None, 1, None),
        (Fault.DUPLICATE_CALLBACK, 5, None),
        (Fault.OUT_OF_ORDER_CALLBACK, 2, None),
        (f"{Fault.CONTRADICT}", 2, "contradiction: callback says failed"),
        (Fault.WRONG_CALLBACK_SIGNATURE, 2, None),
    ],
)
def test_from_the_gateway_to_the_row(
    make_world: MakeWorld,
    webhook_url: str,
    redis_url: str,
    fault: str | None,
    callbacks: int,
    reason: str | None,
) -> None:
    """Gateway, webhook, Redis, task, row: paid once and seen, whatever the callbacks do."""
    world = make_world(notify_url=webhook_url)
    world.ask(**({"remark": f"sandbox:{fault}"} if fault else {}))
    messages: list[CallbackMessage] = []

    def all_there() -> bool:
        messages.extend(taken(redis_url))
        return len(messages) >= callbacks

    wait_for(all_there, 60, f"{callbacks} callbacks")
    for message in messages:
        callback(world.context, message)
    payout = world.row()
    assert payout.status is Status.SUCCEEDED
    assert str(payout.review_reason).startswith(str(reason))
    assert of_ledger(world)["payments"] == 1
    assert [message.verified for message in messages].count(False) == (
        fault is Fault.WRONG_CALLBACK_SIGNATURE
    )


def test_a_wrong_amount_all_the_way(
    make_world: MakeWorld, webhook_url: str, redis_url: str
) -> None:
    """Law 6 end to end: the callback is signed and wrong; the query tells, the flag stays."""
    world = make_world(notify_url=webhook_url)
    clock = freeze_clock(world)
    world.ask(remark=f"sandbox:{Fault.WRONG_AMOUNT_CALLBACK}")
    [message] = wait_for(lambda: taken(redis_url) or None, 60, "a callback")
    assert callback(world.context, message) == "processing"
    payout = until_due(world, clock)
    assert payout.status is Status.SUCCEEDED
    assert payout.review_reason == "mismatch: callback says amount 11.50 instead of 10.50"


def test_a_late_callback_after_the_query_changes_nothing(
    make_world: MakeWorld, webhook_url: str, redis_url: str
) -> None:
    """The query saw the end first: the callback is on record, and that is all."""
    world = make_world(notify_url=webhook_url)
    world.ask(remark=f"sandbox:{Fault.LATE_CALLBACK}")
    until_epay_says(world, "7")
    ended = ask_epay(world)
    [message] = wait_for(lambda: taken(redis_url) or None, 60, "a callback")
    assert callback(world.context, message) == "succeeded"
    assert kinds(world)[-2:] == ["query_report", "callback_report"]
    assert world.row().finished_at == ended.finished_at


def test_the_clock_of_a_callback_is_the_contexts(world: World) -> None:
    """Events bear the time of the context, so that a journal reads in one order."""
    clock = freeze_clock(world)
    put_unknown(world, "order-1")
    clock.forward(10)
    callback(world.context, callback_message())
    assert world.events()[-1].at == clock.now
    assert world.events()[-1].at - world.events()[0].at == timedelta(seconds=10)
