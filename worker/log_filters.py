"""What a worker's log leaves out: what is told once elsewhere, and the ticks that found nothing."""

from __future__ import annotations

import logging

from celery.exceptions import Reject

from shared.contract import TASK_BOOKS, TASK_NOTIFY, TASK_SWEEP

_TICKS = frozenset({TASK_SWEEP, TASK_NOTIFY, TASK_BOOKS})


def install_log_filters() -> None:
    """Set the loggers of Celery and SQLAlchemy so that an outage is a line, and no flood."""
    logging.getLogger("celery.app.trace").addFilter(is_worth_a_line)
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    logging.getLogger("celery.beat").addFilter(in_one_line)


def in_one_line(record: logging.LogRecord) -> bool:
    """A tick that could not be sent is a line, without the way that the error came."""
    if record.exc_info:
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        record.exc_info = None
        record.exc_text = None
    return True


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not a message that was given back (the outage is told once), not a tick that went well."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, Reject):
        return False
    data = getattr(record, "data", None)
    name = data.get("name") if isinstance(data, dict) else None
    return not (name in _TICKS and record.levelno <= logging.INFO)
