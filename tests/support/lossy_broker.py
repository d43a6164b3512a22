"""A broker that loses every third message of one task, on its way from the app to the workers.

The app has a Redis of its own; what it puts on its queue is carried to the service's.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any, Self

import redis

EVERY = 3
_PATIENCE_SECONDS = 0.1


@dataclass
class LossyHop:
    """Carries a queue from one Redis to another, and loses every third message of one task."""

    source: str
    target: str
    queue: str
    loses: str | None = None
    """The task of which every third message is lost; None loses nothing."""
    carried: int = 0
    lost: int = 0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._seen = 0
        self._from = redis.Redis.from_url(self.source)
        self._to = redis.Redis.from_url(self.target)
        self._thread = threading.Thread(target=self._carry, name="lossy-hop")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._from.close()
        self._to.close()

    def _carry(self) -> None:
        while not self._stop.is_set():
            found: Any = self._from.brpop([self.queue], timeout=_PATIENCE_SECONDS)
            if found is None:
                continue
            body = found[1]
            if self._is_lost(body):
                self.lost += 1
            else:
                self._to.lpush(self.queue, body)
                self.carried += 1

    def _is_lost(self, body: bytes) -> bool:
        message = json.loads(body)
        if message["headers"]["task"] != self.loses:
            return False
        self._seen += 1
        return self._seen % EVERY == 0
