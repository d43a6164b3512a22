"""Taking messages off the broker: what is no task message is put aside before it can do harm.

Celery trusts its messages. One without an id is taken for a lost connection and comes again for
ever, a body that is no triple ends the worker, and a message that cannot be taken is logged in
full, account number and all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer

from shared.contract import QUEUE_PARKED, TASK_REQUEST

log = structlog.get_logger(__name__)

_BODY_PARTS = 3
_NAME_LENGTH = 64
_LONGEST_NAME = 255


def find_fault(message: Any) -> str | None:
    """Why a message from the broker is no task message; None when it is one."""
    return _wrong_headers(message.headers) or _wrong_content(message)


def _wrong_headers(headers: object) -> str | None:
    if not isinstance(headers, dict):
        return "it has no headers"
    if not _is_name(headers.get("task")) or not _is_name(headers.get("id")):
        return "its headers name no task and id"
    if headers.get("shadow") is not None and not _is_name(headers["shadow"]):
        return "its headers give it a name that is none"
    if headers.get("eta") is not None:
        return "it wants to be run later, which no task here knows"
    return None


def _wrong_content(message: Any) -> str | None:
    if message.content_type != "application/json":
        return "it is not JSON"
    try:
        body = message.decode()
    except Exception as error:  # noqa: BLE001 - whatever a stranger can make the decoder raise
        return f"its body cannot be read ({type(error).__name__})"
    if not _is_call(body):
        return "its body is not [args, kwargs, options]"
    if any((body[2] or {}).values()):
        return "it wants something to be run afterwards (link, chain, chord)"
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()


def _is_call(body: object) -> bool:
    if not isinstance(body, list | tuple) or len(body) != _BODY_PARTS:
        return False
    args, kwargs, options = body
    return isinstance(args, list) and isinstance(kwargs, dict) and isinstance(options, dict | None)


class StrictConsumer(Consumer):
    """Celery's consumer, which refuses what is no task message and repeats none in a log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # kombu stumbles so over a connection that died under load: it is lost, and no more
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]
        self.connection_errors = (*known, AttributeError)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """The connection is gone; closing what is left of it must not end the worker."""
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError:
            log.warning("connection_lost", error=type(exc).__name__)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's handler, behind a look at the message."""
        take = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> None:
            wrong = find_fault(message)
            if wrong is not None:
                self._refuse(message, wrong)
                return
            try:
                take(message)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                self._refuse(message, f"Celery cannot take it ({type(error).__name__})")

        return on_task_received

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Celery found no task in it."""
        del body
        self._refuse(message, "it is no task message")

    def on_unknown_task(self, body: Any, message: Any, exc: BaseException) -> None:
        """It names a task that is not ours."""
        del body, exc
        self._refuse(message, "there is no such task here")

    def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:
        """Celery's own checks failed."""
        del body
        self._refuse(message, f"Celery cannot take it ({type(exc).__name__})")

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Its body is not what it says it is."""
        self._refuse(message, f"its body cannot be read ({type(exc).__name__})")

    def _refuse(self, message: Any, reason: str) -> None:
        headers = message.headers if isinstance(message.headers, dict) else {}
        kwargs = _request_within(message)
        if kwargs is not None:
            # what somebody meant as a payout is not lost: a person finds it there
            self.app.send_task(TASK_REQUEST, kwargs=kwargs, queue=QUEUE_PARKED)
        log.error(
            "message_refused",
            reason=reason,
            task=_name(headers.get("task")),
            id=_name(headers.get("id")),
            parked=kwargs is not None,
        )
        message.reject_log_error(log, self.connection_errors)


def _request_within(message: Any) -> dict[str, Any] | None:
    """The kwargs of a `payouts.request` that could be read, though the message was refused."""
    headers = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK_REQUEST:
        return None
    try:
        body = message.decode()
    except Exception:  # noqa: BLE001 - as above
        return None
    return body[1] if _is_call(body) else None


def _name(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return "".join(char if char.isprintable() else "?" for char in value[:_NAME_LENGTH])
