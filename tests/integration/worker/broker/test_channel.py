"""Taking messages off a real Redis: whatever breaks, each is on its list or among the unacked."""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Producer, Queue

from devstack.redis import LocalRedis
from devstack.wait import wait_for
from shared.messaging.celery_config import UNACKED_KEYS
from tests.support.tcp_proxy import Proxy
from worker.broker.channel import Transport

QUEUE = "payouts"
OPTIONS = {
    **UNACKED_KEYS,
    "visibility_timeout": 1,
    "socket_timeout": 5,
    "unacked_restore_throttle": 1,
}
UNACKED, INDEX = UNACKED_KEYS["unacked_key"], UNACKED_KEYS["unacked_index_key"]


class Taker:
    """A consumer as Celery is one: takes as many messages as it has hands, keeps them, acks."""

    def __init__(self, connection: Connection, queues: list[str], hands: int) -> None:
        self.connection = connection
        self.channel = connection.channel()
        self.channel.basic_qos(0, hands, False)
        self.held: list[Any] = []
        wanted = [Queue(name, routing_key=name) for name in queues]
        self._consumer = Consumer(self.channel, wanted, on_message=self.held.append)
        self._consumer.consume()

    @property
    def texts(self) -> list[str]:
        return [message.decode() for message in self.held]

    def look(self, seconds: float = 0.05) -> None:
        """What a loop does once: send what is to be sent, read what came."""
        # full, Redis refuses kombu its search for what is overdue: under Celery a line in the log
        with contextlib.suppress(TimeoutError, redis.exceptions.OutOfMemoryError):
            self.connection.drain_events(timeout=seconds)

    def until(self, enough: Callable[[], bool], what: str) -> None:
        def looked() -> bool:
            if not enough():
                self.look()
            return enough()

        wait_for(looked, 60, what)

    def until_it_breaks(self) -> None:
        """Look on until the connection is lost."""
        with pytest.raises(redis.ConnectionError):
            self.until(lambda: False, "the connection to be lost")

    def done(self) -> None:
        """Acknowledge all that is held."""
        while self.held:
            self.held.pop().ack()


@contextmanager
def taker(url: str, queues: tuple[str, ...] = (QUEUE,), hands: int = 4) -> Iterator[Taker]:
    with Connection(url, transport=Transport, transport_options=OPTIONS) as connection:
        yield Taker(connection, list(queues), hands)


def publish(url: str, *texts: str, queue: str = QUEUE, **options: Any) -> None:
    """As a requesting app does it, with kombu's own transport."""
    with Connection(url) as connection:
        producer = Producer(connection)
        for text in texts:
            producer.publish(text, serializer="json", routing_key=queue, **options)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def listed(client: redis.Redis, queue: str = QUEUE) -> int:
    return int(client.llen(queue))


def unacked(client: redis.Redis) -> int:
    """How many are unacked; the index and the messages must be the same ones."""
    tags = set(client.hkeys(UNACKED))
    assert set(client.zrange(INDEX, 0, -1)) == tags
    return len(tags)


def texts(count: int) -> list[str]:
    return [f"text-{number}" for number in range(count)]


def test_takes_what_it_has_hands_for_in_order(redis_url: str, client: redis.Redis) -> None:
    """The rest stays on the list for others; all that is taken is unacked before it is here."""
    publish(redis_url, *texts(10))
    with taker(redis_url, hands=4) as one:
        one.until(lambda: len(one.held) == 4, "four messages")
        one.look()
        assert one.texts == texts(4)
        assert (listed(client), unacked(client)) == (6, 4)
        one.done()
        assert (listed(client), unacked(client)) == (6, 4), "the next fetch acknowledges"
        one.until(lambda: len(one.held) == 4, "the next four")
        assert one.texts == texts(8)[4:]
        assert (listed(client), unacked(client)) == (2, 4)


def test_an_acknowledgement_needs_no_next_message(redis_url: str, client: redis.Redis) -> None:
    """It goes with the next fetch, which finds nothing, or at once while the channel waits."""
    publish(redis_url, *texts(3))
    with taker(redis_url) as one:
        one.until(lambda: len(one.held) == 3, "three messages")
        one.done()
        one.until(lambda: not unacked(client), "the acknowledgements")
        publish(redis_url, "late")
        one.until(lambda: len(one.held) == 1, "a late one")
        one.look()
        one.look()  # it waits for more by now
        one.done()
        assert not unacked(client), "while it waits it is told at once"


def test_a_failed_acknowledgement_frees_its_place(redis_url: str, client: redis.Redis) -> None:
    """The connection of an acknowledgement dies: the next message is fetched, it is sent again."""
    publish(redis_url, *texts(1))
    with (
        Proxy(int(client.get_connection_kwargs()["port"])) as proxy,
        taker(proxy.url, hands=2) as one,
    ):
        one.until(lambda: len(one.held) == 1, "the first message")
        one.until(lambda: one.channel._is_waiting, "it to wait")
        proxy.lose_reply(b"HDEL")
        with pytest.raises(redis.ConnectionError):
            one.done()
        publish(redis_url, "next")
        one.until(lambda: one.texts == ["next"], "the next message")
        assert unacked(client) == 1


@pytest.mark.parametrize("how", ["no more of that queue", "the end"])
def test_what_is_done_is_told_at_the_end(redis_url: str, client: redis.Redis, how: str) -> None:
    """A worker that stops leaves nothing that would be done twice."""
    publish(redis_url, *texts(2))
    with taker(redis_url) as one:
        one.until(lambda: len(one.held) == 2, "two messages")
        if how == "no more of that queue":
            one._consumer.cancel()
        one.held.pop().ack()
    assert (listed(client), unacked(client)) == (1, 0), "the other is given back"


def test_a_lost_answer_loses_no_message(redis_url: str, client: redis.Redis) -> None:
    """The connection dies while messages are on their way: they come again, in time."""
    publish(redis_url, *texts(3))
    with Proxy(int(client.get_connection_kwargs()["port"])) as proxy:
        proxy.lose_reply(b"EVAL")
        with taker(proxy.url) as one:
            one.until_it_breaks()
            assert proxy.lost
            assert (listed(client), unacked(client)) == (0, 3)
    with taker(redis_url) as other:
        other.until(lambda: len(other.held) == 3, "them to come again")
        assert sorted(other.texts) == texts(3)
        assert all(message.headers["redelivered"] for message in other.held)


@pytest.mark.parametrize("queues", [(QUEUE,), ("payouts.submit", QUEUE, "payouts.bulk")])
def test_waiting_takes_nothing(
    redis_url: str, client: redis.Redis, queues: tuple[str, ...]
) -> None:
    """The answer that ends the wait is lost: the message is still on its list."""
    with (
        Proxy(int(client.get_connection_kwargs()["port"])) as proxy,
        taker(proxy.url, queues) as one,
    ):
        one.look()
        one.look()
        assert one.channel._is_waiting
        proxy.lose_reply(b"BLMOVE", b"delivery_tag")
        publish(redis_url, *texts(1))
        one.until_it_breaks()
        assert proxy.lost
        assert (listed(client), unacked(client)) == (1, 0)
    with taker(redis_url) as other:
        other.until(lambda: len(other.held) == 1, "it to be taken")


def test_a_worker_that_dies_with_messages_on_their_way(redis_url: str, client: redis.Redis) -> None:
    """Cut at every command in turn, a hundred messages over: all come in, none is lost."""
    everything = texts(100)
    publish(redis_url, *everything)
    seen: list[str] = []
    with Proxy(int(client.get_connection_kwargs()["port"])) as proxy:
        while len(set(seen)) < len(everything):
            proxy.lose_reply(b"EVALSHA")
            with taker(proxy.url, hands=7) as one:
                try:
                    for _ in range(20):
                        one.look()
                        seen += one.texts
                        one.done()
                except redis.ConnectionError:
                    pass
            here = listed(client) + unacked(client)
            assert len(set(seen)) + here >= len(everything)
    assert sorted(set(seen)) == sorted(everything)


@pytest.mark.parametrize("channels", ["listed", "gone"])
def test_what_is_on_its_way_to_nobody_goes_back(
    redis_url: str, client: redis.Redis, channels: str
) -> None:
    """The consumer stops while a script is under way: what it took is on the list again."""
    publish(redis_url, *texts(6))
    with taker(redis_url) as one:
        one.connection.transport.cycle.on_poll_start()
        wait_for(lambda: unacked(client) == 4, 60, "the script to have run")
        one._consumer.cancel()
        if channels == "gone":  # as when kombu closes a connection with several channels
            one.connection.transport.channels.clear()
        one.channel.close()
        assert (listed(client), unacked(client)) == (6, 0)
    with taker(redis_url, hands=6) as other:
        other.until(lambda: len(other.held) == 6, "all of them")
        assert sorted(other.texts) == texts(6)


def test_what_python_cannot_read_keeps_nobody_back(redis_url: str, client: redis.Redis) -> None:
    """Redis took it for a message, its answer was lost: those beside it come again all the same."""
    client.lpush(QUEUE, message("a").replace("W10=", "W10=\t"))
    publish(redis_url, *texts(2))
    client.lpush(QUEUE, message("zz").replace("W10=", "W10=\t"))
    with Proxy(int(client.get_connection_kwargs()["port"])) as proxy:
        proxy.lose_reply(b"EVAL")
        with taker(proxy.url) as one:
            one.until_it_breaks()
            assert unacked(client) == 4
    with taker(redis_url) as other:
        other.until(lambda: len(other.held) == 2, "the two that are messages")
        other.done()
        other.until(lambda: not unacked(client), "nothing to be kept")


def test_a_list_of_another_kind_moves_nothing(redis_url: str, client: redis.Redis) -> None:
    """A stranger's value where a list of ours should be is met before anything is taken."""
    publish(redis_url, *texts(2))
    with taker(redis_url) as one:
        client.set(f"{QUEUE}\x06\x163", "something else")
        with pytest.raises(redis.ResponseError):
            one.until(lambda: False, "an answer")
        assert (listed(client), unacked(client)) == (2, 0)
        client.delete(f"{QUEUE}\x06\x163")


def test_redis_forgets_the_script(redis_url: str, client: redis.Redis) -> None:
    """As after a restart: the channel sends it again, with the acknowledgements."""
    publish(redis_url, *texts(4))
    with taker(redis_url, hands=2) as one:
        one.until(lambda: len(one.held) == 2, "two messages")
        client.script_flush()
        one.done()
        one.until(lambda: len(one.held) == 2, "the other two")
        assert (listed(client), unacked(client)) == (0, 2)


def test_every_priority_is_seen(redis_url: str) -> None:
    """kombu keeps a list for each; a wait looks at the first alone, and is over in a second."""
    with taker(redis_url) as one:
        one.look()
        publish(redis_url, "urgent or not", priority=6)
        one.until(lambda: len(one.held) == 1, "it to be taken")


def test_several_queues_take_turns(redis_url: str, client: redis.Redis) -> None:
    """A full queue does not keep another waiting; a message in any of them ends the wait."""
    names = ("payouts.reconcile", "payouts.notify")
    publish(redis_url, *texts(40), queue=names[0])
    publish(redis_url, "the other", queue=names[1])
    with taker(redis_url, names, hands=4) as one:
        for _ in range(3):
            one.until(lambda: len(one.held) >= 4, "hands to be full")
            if "the other" in one.texts:
                break
            one.done()
        assert "the other" in one.texts
        one.until(lambda: one.done() or (not listed(client, names[0]) and not one.held), "the rest")
        one.until(lambda: one.channel._is_waiting, "it to wait")
        publish(redis_url, *texts(3), queue=names[1])
        one.until(lambda: len(one.held) == 3, "three more")
        assert unacked(client) == 3


def test_a_message_in_any_queue_is_there_at_once(redis_url: str) -> None:
    """Of three queues, each ends the wait when its message comes, not at the next round."""
    names = ("payouts.submit", QUEUE, "payouts.bulk")
    took = []
    with taker(redis_url, names) as one:
        for nth in range(9):
            one.until(lambda: one.channel._is_waiting, "it to wait")
            publish(redis_url, f"text-{nth}", queue=names[nth % 3])
            began = time.monotonic()
            one.until(lambda: bool(one.held), "the message")
            took.append(time.monotonic() - began)
            one.done()
    assert statistics.median(took) < 0.3, took


def test_submits_come_first_and_bulk_last(redis_url: str) -> None:
    """Whatever the order on the command line, and however long the others are."""
    names = (QUEUE, "payouts.bulk", "payouts.submit")
    for name in names:
        publish(redis_url, *[f"{name} {nth}" for nth in range(4)], queue=name)
    with taker(redis_url, names, hands=6) as one:
        one.until(lambda: len(one.held) == 6, "six messages")
        assert [text.split()[0] for text in one.texts] == ["payouts.submit"] * 4 + [QUEUE] * 2
        one.done()
        one.until(lambda: len(one.held) == 6, "the others")
        assert [text.split()[0] for text in one.texts] == [QUEUE] * 2 + ["payouts.bulk"] * 4


def test_a_wait_that_ends_while_no_hand_is_free_is_read(redis_url: str) -> None:
    """The socket would stay readable, and the event loop of a busy worker would spin."""
    names = ("payouts.submit", QUEUE)
    with taker(redis_url, names, hands=1) as one:
        one.until(lambda: len(one.channel._waits) == 2, "it to wait")
        publish(redis_url, "first")
        one.until(lambda: len(one.held) == 1, "the first")
        publish(redis_url, "second", queue=names[0])
        pending = [wait for wait in one.channel._waits.values() if wait.sent_at]
        assert pending
        one.until(lambda: all(wait.sent_at is None for wait in pending), "the waits to be read")
        assert one.texts == ["first"]
        one.done()
        one.until(lambda: one.texts == ["second"], "the second")


def test_an_idle_wait_that_redis_closes_is_opened_again(
    redis_url: str, client: redis.Redis
) -> None:
    """A worker that is busy for longer than Redis keeps idle connections notices nothing."""
    names = ("payouts.submit", QUEUE)
    with taker(redis_url, names, hands=1) as one:
        one.until(lambda: len(one.channel._waits) == 2, "it to wait")
        publish(redis_url, "first")
        one.until(lambda: len(one.held) == 1, "the first")
        waits = one.channel._waits.values()
        one.until(lambda: all(wait.sent_at is None for wait in waits), "the waits to be over")
        for wait in waits:
            host, port = wait.client.connection._sock.getsockname()
            client.client_kill(f"{host}:{port}")
        for _ in range(5):
            one.look()
        one.until(lambda: one.done() or one.channel._is_waiting, "it to wait again")
        publish(redis_url, "second", queue=names[0])
        one.until(lambda: one.texts == ["second"], "the second")


def test_a_queue_that_nobody_consumes_any_more_is_not_waited_for(
    redis_url: str, client: redis.Redis
) -> None:
    """Cancelled while its wait goes on: what comes later stays on its list."""
    names = ("payouts.submit", QUEUE)
    with taker(redis_url, names) as one:
        one.until(lambda: one.channel._is_waiting, "it to wait")
        one._consumer.cancel_by_queue(QUEUE)
        publish(redis_url, "for nobody")
        publish(redis_url, "for us", queue=names[0])
        one.until(lambda: one.texts == ["for us"], "the other queue's")
        assert listed(client) == 1


def test_many_wait_and_one_gets_it(redis_url: str, client: redis.Redis) -> None:
    """All who wait wake up, and each message comes to one of them."""
    found: list[str] = []
    over = threading.Event()

    def work() -> None:
        with taker(redis_url) as one:
            while not over.is_set():
                one.look()
                found.extend(one.texts)
                one.done()

    with ExitStack() as stack:
        for _ in range(5):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
        stack.callback(over.set)
        wait_for(lambda: _waiting(client) == 5, 60, "all to wait")
        publish(redis_url, *texts(30))
        wait_for(lambda: len(found) >= 30, 60, "all to be found")
        wait_for(lambda: not listed(client) and not unacked(client), 60, "all to be done with")
    assert sorted(found) == sorted(texts(30))
    assert unacked(client) == 0


def _waiting(client: redis.Redis) -> int:
    return sum(one["cmd"] == "blmove" for one in client.client_list())


def test_a_full_redis_can_be_emptied() -> None:
    """Taking makes room: it must not be refused for want of room."""
    with LocalRedis() as server, redis.Redis.from_url(server.url) as client:
        publish(server.url, *(["x" * 1000] * 50))
        with taker(server.url) as one:
            client.config_set("maxmemory", "1")
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.set("anything", "1")
            one.until(lambda: one.done() or not listed(client), "all to be taken")
            one.until(lambda: one.done() or not unacked(client), "all to be done with")
            client.config_set("maxmemory", "0")


def message(tag: object = "t", **changes: Any) -> str:
    properties = {
        "body_encoding": "base64",
        "delivery_tag": tag,
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
    }
    whole = {"body": "W10=", "headers": {}, "content-type": "application/json"}
    return json.dumps({**whole, "content-encoding": "utf-8", "properties": properties} | changes)


NO_MESSAGES = {
    "rubbish": b"rubbish",
    "deep": b"[" * 100_000,
    "no properties": b"{}",
    "no text": message().encode().replace(b"W10=", b"\xff"),
    "body that is no base64": message(body="!").encode(),
    "tag that is a number": message(5).encode(),
    "tag that is nothing": message("").encode(),
    "way with quotes": message(
        properties={
            "delivery_tag": "q",
            "delivery_info": {"exchange": 'a"b\n', "routing_key": "ä"},
            "body_encoding": "rot13",
        }
    ).encode(),
}


@pytest.mark.parametrize("name", NO_MESSAGES)
def test_what_is_no_message_leaves_nothing_behind(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    """It is taken off the list, is not kept, and what is behind it comes."""
    client.lpush(QUEUE, NO_MESSAGES[name])
    publish(redis_url, "good")
    with taker(redis_url) as one:
        one.until(lambda: any("good" in str(m.body) for m in one.held), "what is behind it")
        one.done()
        one.until(lambda: not unacked(client), "nothing to be kept")
    assert listed(client) == 0


def test_what_redis_cannot_keep_stays_on_the_list(redis_url: str, client: redis.Redis) -> None:
    """Something else stands where the unacked are kept: an error, and nothing is taken."""
    client.set(UNACKED, "something else")
    publish(redis_url, *texts(2))
    with taker(redis_url) as one:
        with pytest.raises(redis.ResponseError):
            one.until(lambda: False, "an answer")
        assert listed(client) == 2
        client.delete(UNACKED)
        one.until(lambda: len(one.held) == 2, "both, once it is mended")
