"""The tasks: thin. Each hands its message to a body in `worker.jobs` and acknowledges late.

A message is requeued only while PostgreSQL is unavailable; all other results are in the rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import structlog
from celery.exceptions import Reject
from pydantic import ValidationError

from shared import contract
from shared.messaging.callback_message import CallbackMessage
from worker.bootstrap import runtime
from worker.celery import app
from worker.database_retry import DatabaseUnavailable
from worker.jobs.callback import callback
from worker.jobs.daily_reconciliation import reconcile_day
from worker.jobs.notify import notify
from worker.jobs.query import query
from worker.jobs.request import request
from worker.jobs.submit import submit
from worker.jobs.sweep import sweep

T = TypeVar("T")

log = structlog.get_logger(__name__)


def _run(job: Callable[..., T], *args: Any) -> T:
    """Run a job on the context; requeue the message if PostgreSQL stays unavailable."""
    context = runtime().context
    try:
        return context.database_retry.run(lambda: job(context, *args))
    except DatabaseUnavailable as error:
        raise Reject(reason=error, requeue=True) from error


@app.task(name=contract.TASK_REQUEST, typing=False)
def request_task(*args: object, **kwargs: Any) -> contract.RequestResult:
    """Accept and send one payout; the kwargs are those of `shared.contract.PayoutRequest`."""
    claim_id = uuid.uuid4().hex
    asked = {**kwargs, "positional_arguments": len(args)} if args else kwargs
    try:
        return _run(request, asked, claim_id, request_task.request.origin or "")
    except Reject:
        raise
    except Exception:
        # the one message that must not be lost goes to the dead letters, whatever the error was
        app.send_task(contract.TASK_REQUEST, args, kwargs, queue=contract.QUEUE_PARKED)
        raise


@app.task(name=contract.TASK_SUBMIT)
def submit_task(payout_id: int, lease: str | None = None) -> str | None:
    """Send one queued payout."""
    return _run(submit, payout_id, _instant(lease), uuid.uuid4().hex)


@app.task(name=contract.TASK_QUERY)
def query_task(payout_ids: list[int], lease: str | None = None) -> int:
    """Query a batch of payouts at EPAY."""
    return _run(query, payout_ids, _instant(lease))


@app.task(name=contract.TASK_CALLBACK)
def callback_task(**message: Any) -> str | None:
    """Record a callback."""
    try:
        parsed = CallbackMessage.model_validate(message)
    except ValidationError:
        log.error("message_refused", reason="it is no callback", task=contract.TASK_CALLBACK)  # noqa: TRY400
        return None
    return _run(callback, parsed)


@app.task(name=contract.TASK_SWEEP)
def sweep_task() -> dict[str, int]:
    """One tick of the clock."""
    return _run(sweep)


@app.task(name=contract.TASK_NOTIFY)
def notify_task() -> int:
    """Send the outbox."""
    return _run(notify)


@app.task(name=contract.TASK_BOOKS)
def books_task() -> int:
    """Reconcile some of a day's payouts with EPAY."""
    return _run(reconcile_day)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
