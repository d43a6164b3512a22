"""What workers of earlier releases left under kombu's own keys: ours comes back, no other."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer, Queue

from devstack.wait import wait_for
from shared.messaging.celery_config import KOMBU_UNACKED_KEYS
from tests.support.broker import make_older, put_among_unacked
from worker.broker.channel import Transport
from worker.broker.shared_unacked import restore_expired

VISIBILITY = 60
UNACKED, INDEX = KOMBU_UNACKED_KEYS["unacked_key"], KOMBU_UNACKED_KEYS["unacked_index_key"]
OUR_QUEUES = (
    "payouts",
    "payouts.submit",
    "payouts.bulk",
    "payouts.reconcile",
    "payouts.notify",
    "payouts.parked",
)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    app = Celery("asker", broker=redis_url, set_as_current=False)
    yield app
    app.close()


def connect(redis_url: str) -> Connection:
    options = {**KOMBU_UNACKED_KEYS, "visibility_timeout": VISIBILITY}
    return Connection(redis_url, transport=Transport, transport_options=options)


def restore(redis_url: str) -> int:
    with connect(redis_url) as connection, connection.channel() as channel:
        return restore_expired(channel)


def leave(client: redis.Redis, app: Celery, queue: str, age: float, **options: Any) -> str:
    tag = put_among_unacked(client, KOMBU_UNACKED_KEYS, queue, app, "a.task", **options)
    make_older(client, KOMBU_UNACKED_KEYS, age, tag)
    return tag


def held(client: redis.Redis) -> set[str]:
    """The tags that are unacked; the index and the messages must be the same ones."""
    tags = set(client.hkeys(UNACKED))
    assert set(client.zrange(INDEX, 0, -1)) == tags
    return tags


def tags_on(client: redis.Redis, name: str) -> list[str]:
    texts = map(json.loads, client.lrange(name, 0, -1))
    return [text["properties"]["delivery_tag"] for text in texts]


@pytest.mark.parametrize("queue", OUR_QUEUES)
def test_overdue_messages_of_ours_come_back(
    redis_url: str, client: redis.Redis, app: Celery, queue: str
) -> None:
    """The one that was taken first is the next to be taken, as kombu restores them."""
    older, newer = (leave(client, app, queue, VISIBILITY + age) for age in (9, 3))
    assert restore(redis_url) == 2
    assert tags_on(client, queue) == [newer, older]
    assert not held(client)
    assert json.loads(client.lindex(queue, 0))["headers"]["redelivered"] is True


def test_a_message_goes_back_to_the_list_of_its_priority(
    redis_url: str, client: redis.Redis, app: Celery
) -> None:
    tag = leave(client, app, "payouts", VISIBILITY, priority=6)
    assert restore(redis_url) == 1
    assert tags_on(client, "payouts\x06\x166") == [tag]


def test_fresh_messages_stay(redis_url: str, client: redis.Redis, app: Celery) -> None:
    """An old worker that still runs may have them."""
    overdue = leave(client, app, "payouts", VISIBILITY)
    fresh = leave(client, app, "payouts", VISIBILITY - 20)
    assert restore(redis_url) == 1
    assert (tags_on(client, "payouts"), held(client)) == ([overdue], {fresh})


def test_messages_of_other_apps_stay(redis_url: str, client: redis.Redis, app: Celery) -> None:
    """Under any queue that is not ours, and what only an exchange of their own leads to."""
    theirs = {leave(client, app, queue, 9999) for queue in ("celery", "payouts2", "shop")}
    by_exchange = leave(client, app, "payouts", 9999)
    bind(client, by_exchange, "shop", "shop-queue")
    assert restore(redis_url) == 0
    assert held(client) == theirs | {by_exchange}
    assert not any(client.exists(name) for name in (*OUR_QUEUES, "celery", "shop-queue"))


def test_messages_of_ours_by_an_exchange(redis_url: str, client: redis.Redis, app: Celery) -> None:
    tag = leave(client, app, "payouts", VISIBILITY)
    bind(client, tag, "payouts", "payouts")
    assert restore(redis_url) == 1
    assert tags_on(client, "payouts") == [tag]


def bind(client: redis.Redis, tag: str, exchange: str, queue: str) -> None:
    """Let a message have come by an exchange that leads to a queue."""
    message, _, routing_key = json.loads(client.hget(UNACKED, tag))
    client.hset(UNACKED, tag, json.dumps([message, exchange, routing_key]))
    client.sadd(f"_kombu.binding.{exchange}", f"{routing_key}\x06\x16\x06\x16{queue}")


NO_ENTRIES = {
    "rubbish": "rubbish",
    "deep": "[" * 100_000,
    "a number": "5",
    "too short": "[]",
    "no names": '[{}, "", null]',
    "names that are objects": '[{}, {"a": 1}, {"b": 2}]',
    "a type that cannot be": '[{"a": {"__type__": "uuid", "__value__": 5}}, "", "payouts"]',
    "no message": '[5, "", "payouts"]',
}


def test_what_cannot_be_read_keeps_nothing_back(
    redis_url: str, client: redis.Redis, app: Celery
) -> None:
    overdue = leave(client, app, "payouts", VISIBILITY)
    for tag, entry in NO_ENTRIES.items():
        client.hset(UNACKED, tag, entry)
        client.zadd(INDEX, {tag: time.time() - 9999})
    client.zadd(INDEX, {"without a message": 1})
    restore(redis_url)
    assert tags_on(client, "payouts") == [overdue]
    assert overdue not in client.hkeys(UNACKED)


def test_something_else_under_the_key(redis_url: str, client: redis.Redis) -> None:
    client.set(INDEX, "something else")
    with pytest.raises(redis.ResponseError):
        restore(redis_url)


def test_several_at_once_restore_each_once(
    redis_url: str, client: redis.Redis, app: Celery
) -> None:
    """As many workers start at once."""
    tags = sorted(leave(client, app, "payouts", VISIBILITY) for _ in range(100))
    begin = threading.Barrier(4)

    def work() -> None:
        with connect(redis_url) as connection, connection.channel() as channel:
            begin.wait(10)
            restore_expired(channel)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(begin.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(tags_on(client, "payouts")) == tags
    assert not held(client)


def drained(connection: Connection, taken: list[Any]) -> bool:
    with contextlib.suppress(TimeoutError):
        connection.drain_events(timeout=0.1)
    return bool(taken)


@pytest.mark.parametrize("transport", [Transport, "redis"])
def test_what_a_real_worker_left_comes_back(
    redis_url: str, client: redis.Redis, app: Celery, transport: Any
) -> None:
    """Taken by our script or as kombu takes it, and not given back: the worker was killed."""
    app.send_task("payouts.request", queue="payouts")
    with Connection(redis_url, transport=transport) as connection:
        taken: list[Any] = []
        channel = connection.channel()
        channel.do_restore = False
        queue = Queue("payouts", routing_key="payouts")
        with Consumer(channel, [queue], on_message=taken.append):
            wait_for(lambda: drained(connection, taken), 10, "the message to be taken")
    (tag,) = held(client)
    assert restore(redis_url) == 0
    make_older(client, KOMBU_UNACKED_KEYS, VISIBILITY, tag)
    assert restore(redis_url) == 1
    assert (tags_on(client, "payouts"), held(client)) == ([tag], set())
