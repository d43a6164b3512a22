"""The payout workers: `celery -A worker worker` and `celery -A worker beat`.

Celery finds the app in `worker.celery` by itself.
"""
