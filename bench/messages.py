"""Filling a queue before anybody takes from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from celery import Celery


def fill(redis_url: str, task: str, queue: str, many: Iterable[Mapping[str, Any]]) -> None:
    """Put a message with each of the kwargs on the queue."""
    app = Celery("bench", broker=redis_url, set_as_current=False)
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for kwargs in many:
            app.send_task(task, kwargs=dict(kwargs), queue=queue, producer=producer)
    app.close()
