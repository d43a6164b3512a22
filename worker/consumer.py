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

log = structlog.get_logger(__name__)

_BODY_PARTS = 3
_NAME_LENGTH = 64


def what_is_wrong(message: Any) -> str | None:
    """Why a message from the broker is no task message; None when it is one."""
    headers = message.headers
    if not isinstance(headers, dict):
        return "it has no headers"
    if not isinstance(headers.get("task"), str) or not isinstance(headers.get("id"), str):
        return "its headers name no task and id"
    if message.content_type != "application/json":
        return "it is not JSON"
    try:
        body = message.decode()
    except Exception as error:  # noqa: BLE001 - whatever a stranger can make the decoder raise
        return f"its body cannot be read ({type(error).__name__})"
    return None if _is_call(body) else "its body is not [args, kwargs, options]"


def _is_call(body: object) -> bool:
    if not isinstance(body, list | tuple) or len(body) != _BODY_PARTS:
        return False
    args, kwargs, options = body
    return isinstance(args, list) and isinstance(kwargs, dict) and isinstance(options, dict | None)


class CarefulConsumer(Consumer):
    """Celery's consumer, which refuses what is no task message and repeats none in a log."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's handler, behind a look at the message."""
        take = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> None:
            wrong = what_is_wrong(message)
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
        log.error(
            "message_refused",
            reason=reason,
            task=_name(headers.get("task")),
            id=_name(headers.get("id")),
        )
        message.reject_log_error(log, self.connection_errors)  # type: ignore[attr-defined]


def _name(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return "".join(char if char.isprintable() else "?" for char in value[:_NAME_LENGTH])
