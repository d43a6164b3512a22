"""Log filters of a worker: no line for a requeued message, none for a tick that succeeded."""

from __future__ import annotations

import logging

from celery.exceptions import Reject

from shared.contract import TASK_BOOKS, TASK_NOTIFY, TASK_SWEEP

_TICKS = frozenset({TASK_SWEEP, TASK_NOTIFY, TASK_BOOKS})


def install_log_filters() -> None:
    """Filter the loggers of Celery and SQLAlchemy, so that an outage is one line."""
    logging.getLogger("celery.app.trace").addFilter(is_worth_a_line)
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    logging.getLogger("celery.beat").addFilter(in_one_line)


def in_one_line(record: logging.LogRecord) -> bool:
    """Shorten an error of beat to its first line, without the traceback."""
    if record.exc_info:
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        record.exc_info = None
        record.exc_text = None
    return True


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """False for a requeued message (the outage is logged once) and for a tick that succeeded."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, Reject):
        return False
    data = getattr(record, "data", None)
    name = data.get("name") if isinstance(data, dict) else None
    return not (name in _TICKS and record.levelno <= logging.INFO)
