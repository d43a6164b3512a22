"""Bare Celery for the floors and the peers: the broker options that matter set as ours are."""

from __future__ import annotations

import os

from celery import Celery

from shared.messaging.celery_config import PUBLISH_RETRY

QUEUE = "bench"
URL = os.environ.get("BENCH_GATEWAY_URL", "")
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "32"))


def plain_celery(name: str) -> Celery:
    """A Celery app with late acknowledgement, prefetch 1, no results and no events."""
    app = Celery(name, broker=os.environ.get("REDIS_URL"), set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_default_queue=QUEUE,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        broker_pool_limit=CONCURRENCY,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": 120,
            "socket_timeout": 5,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        task_publish_retry_policy=PUBLISH_RETRY,
    )
    return app
