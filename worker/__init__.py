"""The payout workers: `celery -A worker worker`, `celery -A worker beat`; see `worker.celery`."""
