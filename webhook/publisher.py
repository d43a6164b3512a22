"""Putting callbacks on the queue."""

from __future__ import annotations

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from shared.contract import QUEUE_OF, TASK_CALLBACK
from shared.messaging.callback_message import CallbackMessage
from shared.messaging.celery_config import PUBLISH_RETRY
from webhook.shared_redis import BrokerAway


class CallbackPublisher:
    """The way to the workers."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery

    def publish(self, message: CallbackMessage) -> None:
        """Put a callback on the queue; when this returns, Redis has it.

        Raises:
            BrokerAway: it has not, as far as we know.
        """
        try:
            self._celery.send_task(
                TASK_CALLBACK,
                kwargs=message.model_dump(mode="json", exclude_none=True),
                queue=QUEUE_OF[TASK_CALLBACK],
                retry_policy=PUBLISH_RETRY,
                # Celery would write the arguments into the message's headers again, as text for
                # monitors: a seventh of the time of sending, and once more to keep quiet about.
                argsrepr="()",
                kwargsrepr="{...}",
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            raise BrokerAway from error
