"""A consumer that refuses invalid task messages, because Celery trusts every message.

Celery takes a message without an id for a lost connection and fetches it again for ever, ends the
worker on a body that is not a triple, and logs a message that it cannot handle in full, with the
account number. The names of Celery that this module relies on: `worker.broker`.
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
    """Why a message is not a valid task message; None if it is."""
    return _find_header_fault(message.headers) or _find_content_fault(message)


def _find_header_fault(headers: object) -> str | None:
    if not isinstance(headers, dict):
        return "no headers"
    if not _is_name(headers.get("task")) or not _is_name(headers.get("id")):
        return "no valid task name and id in the headers"
    if headers.get("shadow") is not None and not _is_name(headers["shadow"]):
        return "invalid shadow header"
    if headers.get("eta") is not None:
        return "has an eta, which no task here supports"
    return None


def _find_content_fault(message: Any) -> str | None:
    if message.content_type != "application/json":
        return "content type is not JSON"
    try:
        body = message.decode()
    except Exception as error:  # noqa: BLE001 - a hostile body can make the decoder raise anything
        return f"unreadable body ({type(error).__name__})"
    if not _is_call(body):
        return "body is not [args, kwargs, options]"
    if any((body[2] or {}).values()):
        return "has a link, chain or chord, which no task here supports"
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()


def _is_call(body: object) -> bool:
    if not isinstance(body, list | tuple) or len(body) != _BODY_PARTS:
        return False
    args, kwargs, options = body
    return isinstance(args, list) and isinstance(kwargs, dict) and isinstance(options, dict | None)


class StrictConsumer(Consumer):
    """Celery's consumer, which refuses invalid task messages and never logs their content."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # kombu raises AttributeError when a connection dies under load: reconnect
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]
        self.connection_errors = (*known, AttributeError)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close what is left of the lost connection, without ending the worker if that fails."""
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError:
            log.warning("connection_lost", error=type(exc).__name__)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's handler, behind a check of the message."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> None:
            fault = find_fault(message)
            if fault is not None:
                self._refuse(message, fault)
                return
            try:
                handle(message)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                self._refuse(message, f"Celery cannot handle it ({type(error).__name__})")

        return on_task_received

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Refuse a message in which Celery found no task."""
        del body
        self._refuse(message, "not a task message")

    def on_unknown_task(self, body: Any, message: Any, exc: BaseException) -> None:
        """Refuse a message for a task that the workers do not have."""
        del body, exc
        self._refuse(message, "unknown task")

    def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:
        """Refuse a message that Celery's own checks rejected."""
        del body
        self._refuse(message, f"Celery cannot handle it ({type(exc).__name__})")

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Refuse a message whose body does not match its content type."""
        self._refuse(message, f"unreadable body ({type(exc).__name__})")

    def _refuse(self, message: Any, reason: str) -> None:
        headers = message.headers if isinstance(message.headers, dict) else {}
        kwargs = _find_request(message)
        if kwargs is not None:
            # A refused request is a payout that an app wants: keep it for the operator.
            self.app.send_task(TASK_REQUEST, kwargs=kwargs, queue=QUEUE_PARKED)
        log.error(
            "message_refused",
            reason=reason,
            task=_printable(headers.get("task")),
            id=_printable(headers.get("id")),
            parked=kwargs is not None,
        )
        message.reject_log_error(log, self.connection_errors)


def _find_request(message: Any) -> dict[str, Any] | None:
    """The kwargs of a refused message that is a readable `payouts.request`; otherwise None."""
    headers = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK_REQUEST:
        return None
    try:
        body = message.decode()
    except Exception:  # noqa: BLE001 - as in _find_content_fault
        return None
    return body[1] if _is_call(body) else None


def _printable(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return "".join(char if char.isprintable() else "?" for char in value[:_NAME_LENGTH])
