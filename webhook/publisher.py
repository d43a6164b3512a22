"""Publishes callbacks to the queue."""

from __future__ import annotations

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from shared.contract import QUEUE_OF, TASK_CALLBACK
from shared.messaging.callback_message import CallbackMessage
from shared.messaging.celery_config import PUBLISH_RETRY
from shared.redis_client import RedisUnavailable


class CallbackPublisher:
    """Publishes callbacks to the workers."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery

    def publish(self, message: CallbackMessage) -> None:
        """Put a callback on the queue; when this returns, Redis has stored it.

        Raises:
            RedisUnavailable: Redis did not confirm it.
        """
        try:
            self._celery.send_task(
                TASK_CALLBACK,
                kwargs=message.model_dump(mode="json", exclude_none=True),
                queue=QUEUE_OF[TASK_CALLBACK],
                retry_policy=PUBLISH_RETRY,
                # Celery would repeat the arguments as text in the headers, for monitors: a seventh
                # of the publish time, and a second copy of data that must not leak.
                argsrepr="()",
                kwargsrepr="{...}",
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            raise RedisUnavailable from error
