"""What a worker leaves on Redis when it is killed with messages in its hands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import time
from typing import Any

import redis
from celery import Celery

_ASIDE = "aside"
"""A queue that no worker consumes."""


def put_among_unacked(
    client: redis.Redis, keys: Mapping[str, str], queue: str, app: Celery, task: str, **options: Any
) -> str:
    """Leave a task message as a worker does that takes it off `queue` and is killed; its tag.

    Args:
        client: answers in text.
        keys: kombu's transport options that name the keys.
        queue: the queue that it goes back to.
        app: sends the message.
        task: its name.
        options: further ones of `send_task`.
    """
    app.send_task(task, queue=_ASIDE, **options)
    (name,) = client.keys(f"{_ASIDE}*")  # with a priority the list's name has an ending
    payload = json.loads(str(client.rpop(name)))
    payload["properties"]["delivery_info"]["routing_key"] = queue
    tag = str(payload["properties"]["delivery_tag"])
    with client.pipeline() as pipe:
        pipe.zadd(keys["unacked_index_key"], {tag: time()})
        pipe.hset(keys["unacked_key"], tag, json.dumps([payload, "", queue]))
        pipe.execute()
    return tag


def make_older(client: redis.Redis, keys: Mapping[str, str], seconds: float, *tags: str) -> None:
    """Let messages have been taken so many seconds earlier."""
    for tag in tags:
        client.zincrby(keys["unacked_index_key"], -seconds, tag)
