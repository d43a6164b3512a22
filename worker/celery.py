"""The Celery app: made from the settings, with the tasks and the beat schedule."""

from __future__ import annotations

from typing import Any

from celery import Celery

from shared import contract
from shared.config.accounts import account_settings
from shared.config.builders import build_accounts, build_cipher, build_epay_config
from shared.config.settings import Settings, SettingsError, load
from shared.messaging.celery_config import make_celery

app: Celery

_TRANSPORT = "worker.broker.channel:Transport"
_BOOKS_SECONDS = 10.0
"""Between two looks whether the books of a day are to be compared."""


def worker_config(settings: Settings) -> dict[str, Any]:
    """Celery settings of worker and beat; the common ones: `shared.messaging.celery_config`.

    A message is acknowledged after its task, so a worker that dies loses none; tasks bear a
    redelivery because they claim their row in PostgreSQL first.
    """
    return {
        "imports": ["worker.tasks", "worker.bootstrap"],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,  # redeliver the message of a task that was killed
        "task_ignore_result": settings.celery_result_backend is None,
        "task_routes": {task: {"queue": queue} for task, queue in contract.QUEUE_OF.items()},
        "worker_consumer": "worker.broker.consumer:StrictConsumer",  # refuses invalid messages
        # None: kombu's own for the scheme of the URL
        "broker_transport": _TRANSPORT if settings.broker_atomic_fetch == "on" else None,
        "worker_enable_remote_control": False,  # any app on the broker could shut a worker down
        "worker_pool": "threads",  # tasks wait for EPAY and PostgreSQL
        "worker_concurrency": settings.worker_concurrency,
        "worker_prefetch_multiplier": 1,  # no message waits in one worker while another is idle
        # A running request to EPAY cannot be taken back: cancelling it loses its answer.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # SIGTERM: wait for the longest request to EPAY before messages are given back.
        "worker_soft_shutdown_timeout": settings.total_timeout + 5,
        "worker_enable_soft_shutdown_on_idle": True,  # also for messages that were just fetched
        "worker_hijack_root_logger": False,  # shared.observability.logging configures the logs
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        "beat_scheduler": "worker.ticker:MonotonicScheduler",
        "beat_schedule": beat_schedule(settings),
    }


def beat_schedule(settings: Settings) -> dict[str, Any]:
    """The ticks; without `expires`, which would compare the clocks of two machines (law 15)."""
    ticks = {
        "sweep": _tick(contract.TASK_SWEEP, settings.sweep_seconds),
        "notify": _tick(contract.TASK_NOTIFY, settings.notify_seconds),
    }
    if settings.books == "on":
        ticks["books"] = _tick(contract.TASK_BOOKS, _BOOKS_SECONDS)
    return ticks


def _tick(task: str, seconds: float) -> dict[str, Any]:
    return {"task": task, "schedule": seconds, "options": {"queue": contract.QUEUE_OF[task]}}


def _make_app() -> Celery:
    try:
        settings = load().need(
            "database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key"
        )
        for one in account_settings(settings):
            build_epay_config(one)
        build_accounts(settings)
        build_cipher(settings)
    except SettingsError as error:
        raise SystemExit(f"The payout worker cannot start: {error}") from None
    made = make_celery("worker", settings)
    made.conf.update(worker_config(settings))
    return made


app = _make_app()
