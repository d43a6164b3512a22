"""The webhook's side of Redis: putting callbacks on the queue, and a brake for unsigned ones."""

from __future__ import annotations

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from shared.broker import PUBLISH_RETRY
from shared.callback_message import CallbackMessage
from shared.contract import QUEUE_OF, TASK_CALLBACK

_TIMEOUT_SECONDS = 2
_HINT_SECONDS = 60


class BrokerAway(Exception):
    """Redis did not take the message: EPAY has to come again."""


class Broker:
    """Redis, as far as the webhook needs it."""

    def __init__(self, celery: Celery, redis_url: str) -> None:
        self._celery = celery
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
        )

    def enqueue(self, message: CallbackMessage) -> None:
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
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            raise BrokerAway from error

    def first_hint(self, merchant_order_no: str) -> bool:
        """Whether no unverified callback for this order came within the last minute.

        Raises:
            BrokerAway: Redis cannot say.
        """
        key = f"payouts:hint:{merchant_order_no}"
        try:
            return bool(self._redis.set(key, 1, nx=True, ex=_HINT_SECONDS))
        except (redis.RedisError, OSError) as error:
            raise BrokerAway from error

    def ping(self) -> None:
        """Raise BrokerAway when Redis does not answer."""
        try:
            self._redis.ping()
        except (redis.RedisError, OSError) as error:
            raise BrokerAway from error
