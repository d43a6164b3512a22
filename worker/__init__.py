"""The Celery app of the payout workers: `celery -A worker worker`, `celery -A worker beat`."""

from worker.celery_app import app

__all__ = ["app"]
