"""Messages that would stop a real worker, come again for ever, or keep others from being told."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from kombu import Connection, Producer

from devstack.wait import wait_for
from sandbox.settings import Duplicates, SandboxConfig
from shared.messaging.celery_config import KOMBU_UNACKED_KEYS, UNACKED_KEYS
from tests.security.request_cases import TEN_MEGABYTES, deep
from tests.support.databases import fresh_database
from tests.support.factories import request_kwargs
from tests.support.servers import PostgresServer, RedisServer, flush
from tests.support.service import (
    OUTCOME_QUEUE,
    OUTCOME_TASK,
    QUEUES,
    SHORT,
    Outcomes,
    Service,
    service,
)

NOTIFY = {"task": OUTCOME_TASK, "queue": OUTCOME_QUEUE, "on": ["accepted", "final"]}
ALONE = ("--without-gossip", "--without-mingle")
GOOD = (f"good-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def running(
    postgres: PostgresServer,
    template_database: str,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """A worker and beat, before a gateway that pays whatever it is sent."""
    flush(redis_server.url)
    with ExitStack() as stack:
        stack.callback(flush, redis_server.url)
        made = stack.enter_context(
            service(
                stack.enter_context(fresh_database(postgres, template_database)),
                redis_server.url,
                tmp_path_factory.mktemp("logs"),
                SandboxConfig(duplicates=Duplicates.PAY, pay_after=0.1),
                SHORT | {"NOTIFY_SECONDS": "0.5"},
            )
        )
        made.start_beat()
        made.start_worker(*ALONE)
        yield made


@pytest.fixture
def alive(running: Service) -> Iterator[Service]:
    """The same, whatever an earlier test has done to it."""
    yield running
    with redis.Redis.from_url(running.redis_url) as client:
        client.delete(*QUEUES, *UNACKED_KEYS.values(), *KOMBU_UNACKED_KEYS.values())
    if "beat" in running.processes.poll():
        running.start_beat()
    if f"worker{running._workers}" in running.processes.poll():
        running.start_worker(*ALONE)


def publish(alive: Service, body: Any, **headers: Any) -> None:
    """A message as Celery writes it, but for what is wrong with it."""
    whole = {"task": "payouts.request", "id": "x", **headers}
    with Connection(alive.redis_url) as connection:
        Producer(connection).publish(
            body, serializer="json", exchange="", routing_key="payouts", headers=whole
        )


def next_is_paid(alive: Service) -> None:
    """The worker lives, holds and keeps nothing, and pays what is asked for next."""
    order_no = next(GOOD)
    ended = alive.processes.poll()
    alive.ask(order_no)
    sent = {"processing", "succeeded"}
    wait_for(
        lambda: getattr(alive.row(order_no), "status", None) in sent, 60, "the next to be sent"
    )
    alive.wait_until_idle(timeout=60)
    assert alive.processes.poll() == ended


WRONG: dict[str, dict[str, Any]] = {
    "float": {"amount": 10.5},
    "NaN": {"amount": float("nan")},
    "Infinity": {"amount": float("inf")},
    "exponent": {"amount": "1e2"},
    "boolean": {"amount": True},
    "ten megabytes": {"remark": TEN_MEGABYTES},
    "deep": {"extend_fields": deep(900, of_lists=False)},
    "NUL": {"account_no": "U\x00"},
    "unknown kwarg": {"due_at": "now"},
    "other account": {"epay_account": "other@epay.com"},
    "order number": {"merchant_order_no": "a b/c\n"},
    "surrogate": {"account_no": "\ud800"},
}


def test_wrong_requests_are_told_and_gone(alive: Service) -> None:
    """Each is answered as invalid, once, is not paid and does not come again."""
    ids = {}
    with Outcomes(alive.redis_url) as outcomes:
        for name, change in WRONG.items():
            kwargs = request_kwargs(f"wrong-{name.replace(' ', '-')}") | {"notify": NOTIFY} | change
            publish(alive, [[], kwargs, {}], id=name)
            ids[name] = kwargs["merchant_order_no"].replace("\n", "?")
        publish(alive, [["positional"], request_kwargs("wrong-args") | {"notify": NOTIFY}, {}])
        for order_no in [*ids.values(), "wrong-args"]:
            (told,) = outcomes.wait_for(order_no, 1)
            assert (told["status"], told["error"]["code"][:8]) in {
                ("invalid", "invalid_"),
                ("invalid", "unknown_"),
            }
        next_is_paid(alive)
    assert {order for order in alive.gateway.ledger()["orders"] if "good" not in order} == set()
    assert alive.sql("SELECT 1 FROM payout WHERE merchant_order_no NOT LIKE 'good-%%'") == []


def envelope(**changes: Any) -> bytes:
    """What Celery puts on a list of Redis, but for what is wrong with it."""
    info = {"exchange": "", "routing_key": "payouts"}
    properties = {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": info}
    whole: dict[str, Any] = {
        "body": "W10=",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "payouts.request", "id": "x"},
        "properties": properties | changes.pop("properties", {}),
    }
    return json.dumps(whole | changes).encode()


RAW: dict[str, bytes] = {
    "no JSON": b"rubbish",
    "no text": b"\xff\xfe\x00",
    "nothing": b"",
    "a number": b"1",
    "null": b"null",
    "a text": b'"x"',
    "a list": b"[]",
    "an object": b"{}",
    "deep": b"[" * 100_000,
    "no properties": b'{"body": "W10="}',
    "properties are a list": b'{"body": "W10=", "properties": []}',
    "a body that is no base64": envelope(body="!"),
    "a body that is a number": envelope(body=5),
    "an unknown way to write a body": envelope(properties={"body_encoding": "rot13"}),
    "a tag that is an object": envelope(properties={"delivery_tag": {"a": 1}}),
    "a way that is a number": envelope(properties={"delivery_info": 5}),
    "a way that is empty": envelope(properties={"delivery_info": {}}),
    "a type that is a number": envelope(**{"content-type": 5, "content-encoding": 7}),
    "headers that are a list": envelope(headers=[1]),
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_message_at_all(alive: Service, name: str) -> None:
    """Whatever is on the list is taken off it, and stops no worker."""
    with redis.Redis.from_url(alive.redis_url) as client:
        client.lpush("payouts", RAW[name])
    next_is_paid(alive)


STRANGE: dict[str, tuple[dict[str, Any], Any]] = {
    "eta in a thousand years": ({"eta": "2999-01-01T00:00:00+00:00"}, {}),
    "eta is no time": ({"eta": "soon"}, {}),
    "expires is no time": ({"expires": [1]}, {}),
    "shadow is a list": ({"shadow": ["x"]}, {}),
    "shadow is an object": ({"shadow": {"x": 1}}, {}),
    "timelimit is a text": ({"timelimit": "x"}, {}),
    "retries is a text": ({"retries": "x"}, {}),
    "stamps": ({"stamped_headers": ["a"], "stamps": 5}, {}),
    "group is an object": ({"group": {"a": 1}}, {}),
    "reply_to and more": (
        {"reply_to": 5, "args": 5, "kwargs": 5, "callbacks": 5, "root_id": []},
        {},
    ),
    "an id with lines": ({"id": "x\nforged line"}, {}),
    "a long id": ({"id": "x" * 100_000}, {}),
    "chain of a number": ({}, {"chain": [1]}),
    "chain without a task": ({}, {"chain": [{"options": {"queue": 5}}]}),
    "chord": ({}, {"chord": {"task": 5}}),
    "callbacks": ({}, {"callbacks": [1], "errbacks": [1]}),
    "callback with wrong options": ({}, {"callbacks": [{"task": "x", "options": {"queue": 5}}]}),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_headers_and_options(alive: Service, name: str) -> None:
    """Paid once or not at all, but never kept and never to come again; no log line is forged."""
    headers, options = STRANGE[name]
    order_no = f"strange-{list(STRANGE).index(name)}"
    publish(alive, [[], request_kwargs(order_no), options], **headers)
    next_is_paid(alive)
    assert alive.ledger_of(order_no)["creates_received"] <= 1
    lines = alive.log(f"worker{alive._workers}").splitlines()
    assert [line for line in lines if line.startswith("forged line")] == []


OTHER_KEYS = (
    *UNACKED_KEYS.values(),
    *KOMBU_UNACKED_KEYS.values(),
    "_kombu.binding.payouts",
)


def test_no_address_keeps_others_from_being_told(alive: Service) -> None:
    """To be told on a queue that can be none is an app's own loss; loops end by themselves."""
    for number, queue in enumerate([*OTHER_KEYS, "payouts"]):
        notify = {"task": "payouts.request", "queue": queue, "on": ["accepted", "final"]}
        alive.ask(f"untold-{number}", notify=notify)
        alive.ask(f"untold-{number}", notify=notify, amount="nonsense")
    with Outcomes(alive.redis_url) as outcomes:
        alive.ask("told", notify=NOTIFY)
        outcomes.wait_for("told", 2)
    next_is_paid(alive)


ORDERS: dict[str, Callable[[Any], object]] = {
    "shutdown": lambda control: control.shutdown(),
    "no more of that queue": lambda control: control.cancel_consumer("payouts"),
    "a limit of the rate": lambda control: control.rate_limit("payouts.request", "1/h"),
}


@pytest.mark.parametrize("name", ORDERS)
def test_other_apps_do_not_command_the_workers(alive: Service, name: str) -> None:
    """Celery's remote control is open to all on the broker: it is off."""
    ORDERS[name](alive.client_app.control)
    assert alive.client_app.control.ping(timeout=0.5) == []
    next_is_paid(alive)


def test_what_hangs_in_a_worker_is_shown_to_nobody(alive: Service) -> None:
    """`inspect active` would show kwargs, account numbers among them."""
    assert not alive.client_app.control.inspect(timeout=0.5).active()
    wait_for(lambda: not alive.waiting()["unacked"], 60, "the worker to have nothing in its hands")
