"""fetch.lua: what it moves, acknowledges and returns."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from tests.support.fake_redis import FakeRedisServer
from worker.broker.channel import FETCH_SCRIPT

UNACKED, INDEX = "unacked", "unacked_index"


def message(tag: str, body: str = "text", **properties: Any) -> str:
    """A message as kombu writes it."""
    route = {"exchange": "", "routing_key": "payouts"}
    return json.dumps(
        {
            "body": body,
            "properties": {"delivery_tag": tag, "delivery_info": route, **properties},
        }
    )


class Broker:
    """Redis with lists of messages."""

    def __init__(self, server: FakeRedisServer) -> None:
        self.client = server.client
        self._script = self.client.register_script(FETCH_SCRIPT)

    def publish(self, queue: str, *texts: str) -> None:
        """Append messages as kombu does it."""
        for text in texts:
            self.client.lpush(queue, text)

    def fetch(self, limit: int, *queues: str, now: float = 1.5) -> list[tuple[str, str, str]]:
        """List, delivery tag and text of each message."""
        flat = self._script(keys=[UNACKED, INDEX, *queues], args=[repr(now), limit])
        return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))

    @property
    def unacked(self) -> dict[str, Any]:
        """The unacknowledged messages by tag, decoded."""
        entries = {tag: json.loads(text) for tag, text in self.client.hgetall(UNACKED).items()}
        assert set(self.client.zrange(INDEX, 0, -1)) == set(entries)
        return entries


@pytest.fixture
def broker(fake_redis: FakeRedisServer) -> Broker:
    return Broker(fake_redis)


def test_oldest_messages_become_unacknowledged(broker: Broker) -> None:
    texts = [message(f"tag-{nth}") for nth in range(5)]
    broker.publish("payouts", *texts)
    assert broker.fetch(3, "payouts", now=12.25) == [
        ("payouts", f"tag-{nth}", texts[nth]) for nth in range(3)
    ]
    assert broker.unacked == {
        f"tag-{nth}": [json.loads(texts[nth]), "", "payouts"] for nth in range(3)
    }
    assert broker.client.zscore(INDEX, "tag-0") == 12.25
    assert broker.client.lrange("payouts", 0, -1) == [texts[4], texts[3]]


def test_lists_are_emptied_in_order(broker: Broker) -> None:
    broker.publish("second", message("b"), message("c"))
    broker.publish("first", message("a"))
    found = broker.fetch(2, "first", "second")
    assert [(queue, tag) for queue, tag, _ in found] == [("first", "a"), ("second", "b")]
    assert broker.client.llen("second") == 1


@pytest.mark.parametrize("limit", [0, 1, 64])
def test_nothing_is_fetched_from_empty_lists(broker: Broker, limit: int) -> None:
    assert broker.fetch(limit, "payouts", "other") == []
    assert broker.client.keys() == []


def test_limit_of_zero_moves_nothing(broker: Broker) -> None:
    broker.publish("payouts", message("a"))
    assert broker.fetch(0, "payouts") == []
    assert broker.client.llen("payouts") == 1


def test_names_are_stored_as_json(broker: Broker) -> None:
    route = {"exchange": 'a "quoted" one', "routing_key": "päyouts\\"}
    broker.publish("payouts", message("a", delivery_info=route))
    broker.fetch(1, "payouts")
    assert broker.unacked["a"][1:] == [route["exchange"], route["routing_key"]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        "{",
        "null",
        "7",
        '"text"',
        "[]",
        "{}",
        '{"properties": null}',
        '{"properties": 7}',
        '{"properties": []}',
        message(""),
        message("a", delivery_tag=None),
        message("a", delivery_tag=7),
        message("a", delivery_tag=["a"]),
        message("a", delivery_info=None),
        message("a", delivery_info="text"),
        message("a", delivery_info={}),
        message("a", delivery_info={"exchange": ""}),
        message("a", delivery_info={"exchange": None, "routing_key": "payouts"}),
        message("a", delivery_info={"exchange": "", "routing_key": 7}),
    ],
)
def test_entry_that_is_no_message_is_removed_and_blocks_none(broker: Broker, text: str) -> None:
    """It comes with an empty tag, for the log; the message behind it comes too."""
    good = message("good")
    broker.publish("payouts", text, good)
    assert broker.fetch(5, "payouts") == [("payouts", "", text), ("payouts", "good", good)]
    assert set(broker.unacked) == {"good"}
    assert broker.client.llen("payouts") == 0


def test_key_of_a_wrong_type_moves_nothing(broker: Broker) -> None:
    """A script is not rolled back: it must fail before the first message is moved."""
    broker.publish("payouts", message("a"))
    broker.client.set("other", "text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        broker.fetch(5, "payouts", "other")
    assert broker.client.llen("payouts") == 1
    assert broker.unacked == {}


def test_message_fetched_again_replaces_its_entry(broker: Broker) -> None:
    """After it was put back on its list."""
    broker.publish("payouts", message("a"))
    broker.fetch(1, "payouts", now=1.0)
    broker.publish("payouts", message("a", body="again"))
    broker.fetch(1, "payouts", now=2.0)
    assert broker.client.zscore(INDEX, "a") == 2.0
    assert broker.unacked["a"][0]["body"] == "again"
