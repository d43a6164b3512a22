"""The Celery app: made from the settings, with the tasks and the beat schedule."""

from __future__ import annotations

from typing import Any

from celery import Celery

from shared import contract
from shared.config.builders import build_cipher, build_epay_config
from shared.config.settings import Settings, SettingsError, load
from shared.messaging.celery_config import make_celery

app: Celery

_BOOKS_SECONDS = 10.0
"""Between two looks whether the books of a day are to be compared."""


def worker_config(settings: Settings) -> dict[str, Any]:
    """What only a consumer needs, as Celery settings (design section 4)."""
    return {
        "imports": ["worker.tasks", "worker.bootstrap"],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": settings.celery_result_backend is None,
        "task_routes": {task: {"queue": queue} for task, queue in contract.QUEUE_OF.items()},
        "worker_consumer": "worker.broker.consumer:CarefulConsumer",
        "broker_transport": _transport(settings.redis_url),
        "worker_enable_remote_control": False,  # any app on the broker could shut us down by it
        "worker_pool": "threads",
        "worker_concurrency": settings.worker_concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": settings.total_timeout + 5,
        "worker_enable_soft_shutdown_on_idle": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_schedule": beat_schedule(settings),
    }


def _transport(redis_url: str) -> str:
    sentinel = redis_url.startswith("sentinel://")
    return f"worker.broker.transport:{'SentinelTransport' if sentinel else 'Transport'}"


def beat_schedule(settings: Settings) -> dict[str, Any]:
    """The ticks. A stale one expires: the next does the same work."""
    ticks = {
        "sweep": _tick(contract.TASK_SWEEP, settings.sweep_seconds),
        "notify": _tick(contract.TASK_NOTIFY, settings.notify_seconds),
    }
    if settings.books == "on":
        ticks["books"] = _tick(contract.TASK_BOOKS, _BOOKS_SECONDS)
    return ticks


def _tick(task: str, seconds: float) -> dict[str, Any]:
    options = {"queue": contract.QUEUE_OF[task], "expires": max(seconds, 1)}
    return {"task": task, "schedule": seconds, "options": options}


def _make_app() -> Celery:
    try:
        settings = load().need(
            "database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key"
        )
        build_epay_config(settings)
        build_cipher(settings)
    except SettingsError as error:
        msg = f"The payout worker cannot start: {error}"
        raise SystemExit(msg) from None
    made = make_celery("worker", settings)
    made.conf.update(worker_config(settings))
    return made


app = _make_app()
