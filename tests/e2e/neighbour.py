"""An app of somebody else on the same Redis: plain celery, its default settings, own tasks."""

from __future__ import annotations

import os
import time
from typing import Any

import redis
from celery import Celery

QUEUE = "neighbour"
LONG = "neighbour.long"
DELAYED = "neighbour.delayed"
GO = "neighbour:go"
"""The long task runs until this key exists."""

_REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:1/0")

app = Celery("neighbour", broker=_REDIS_URL, set_as_current=False)
app.conf.task_default_queue = QUEUE


def runs_key(task: str) -> str:
    """The list that gets the task's id each time the task begins."""
    return f"{task}:runs"


@app.task(name=LONG, bind=True, acks_late=True)
def long(self: Any) -> None:
    with redis.Redis.from_url(_REDIS_URL) as client:
        client.rpush(runs_key(LONG), self.request.id)
        while not client.exists(GO):
            time.sleep(0.05)


@app.task(name=DELAYED, bind=True, acks_late=True)
def delayed(self: Any) -> None:
    with redis.Redis.from_url(_REDIS_URL) as client:
        client.rpush(runs_key(DELAYED), self.request.id)
