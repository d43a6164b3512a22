"""The way to Redis through Celery: one set of options for every process that sends or consumes."""

from __future__ import annotations

import ssl
from typing import Any

from celery import Celery

from shared.config.settings import Settings
from shared.contract import QUEUE_PAYOUTS

_SOCKET_TIMEOUT_SECONDS = 5
_HEALTH_CHECK_SECONDS = 10

PUBLISH_RETRY = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.3}
"""A publish must fail soon: the webhook answers 503, the sweep tries again."""

KOMBU_UNACKED_KEYS = {
    "unacked_key": "unacked",
    "unacked_index_key": "unacked_index",
    "unacked_mutex_key": "unacked_mutex",
}
"""Where kombu keeps messages that a worker has taken, as transport options: all apps share them."""

UNACKED_KEYS = {option: f"payouts.{key}" for option, key in KOMBU_UNACKED_KEYS.items()}
"""Keys of our own: our short visibility timeout must not give back another app's running task."""


def make_celery(name: str, settings: Settings) -> Celery:
    """A Celery app that can send messages.

    Raises:
        SettingsError: REDIS_URL is missing.
    """
    settings.need("redis_url")
    app = Celery(name, set_as_current=False)
    app.conf.update(broker_config(settings))
    return app


def broker_config(settings: Settings) -> dict[str, Any]:
    """What sender and consumer must agree on, as Celery settings.

    The timeouts are what makes a worker notice a dead connection: without them it hangs for ever
    (celery/celery#10502). `retry_on_timeout` stays unset: it publishes twice.
    """
    config: dict[str, Any] = {
        "broker_url": settings.redis_url,
        "broker_connection_timeout": _SOCKET_TIMEOUT_SECONDS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_limit": settings.worker_concurrency,
        "broker_pool_acquire_timeout": _SOCKET_TIMEOUT_SECONDS,
        "broker_transport_options": {
            "visibility_timeout": settings.broker_visibility_timeout,
            "socket_timeout": _SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": _SOCKET_TIMEOUT_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": _HEALTH_CHECK_SECONDS,
            **UNACKED_KEYS,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 30,
        },
        "task_default_queue": QUEUE_PAYOUTS,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_publish_retry": True,
        "task_publish_retry_policy": PUBLISH_RETRY,
        "enable_utc": True,
        "timezone": "UTC",
    }
    if settings.redis_url.startswith("rediss://"):
        config["broker_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    if settings.celery_result_backend:
        config["result_backend"] = settings.celery_result_backend
    return config
