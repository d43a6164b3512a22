"""The payout workers: `celery -A worker worker`, `celery -A worker beat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery import Celery


def __getattr__(name: str) -> Celery:
    """The Celery app, made from the settings when it is first asked for, not on import."""
    if name != "app":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from worker.celery_app import app  # noqa: PLC0415 - that is the point

    return app
