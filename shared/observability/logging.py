"""Logging: one pipeline for our records and the libraries', and the one place that masks.

A record is masked and formatted in the thread that logs it; one background thread writes the lines
to stderr, so that no worker thread waits for a write.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.domain.payout import UnreadableAccount

_ACCOUNTS = frozenset({"account_no", "accountNo", "payerAccount"})
_SECRETS = frozenset({"pinCode", "pin_code", "api_key", "apiKey", "sign", "key", "password"})
_SHOWN = 4
_LONG_ENOUGH = 8
_MAX_QUEUED_LINES = 10_000
_FULL_QUEUE_PAUSE_SECONDS = 0.01


class BackgroundHandler(QueueHandler):
    """Writes lines to a stream in a background thread until it is closed, then directly.

    `logging.shutdown` closes it when the process exits: all lines are written. A process that is
    killed loses the lines that are still queued.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        self._lines: SimpleQueue[Any] = SimpleQueue()  # its put is safe within a signal handler
        super().__init__(self._lines)
        self.setFormatter(formatter)
        self._output = logging.StreamHandler(stream)
        self._listener: QueueListener | None = None
        self.start()

    def start(self) -> None:
        """Start the thread that writes."""
        self._listener = QueueListener(self._lines, self._output)
        self._listener.start()

    def stop(self) -> None:
        """Write what is queued and end the thread; without it each line is written directly."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a formatted line; wait while the stream is far behind."""
        if self._listener is None:
            self._output.handle(record)
            return
        while self._lines.qsize() >= _MAX_QUEUED_LINES:
            time.sleep(_FULL_QUEUE_PAUSE_SECONDS)
        super().enqueue(record)

    def close(self) -> None:
        """Write what is queued."""
        self.acquire()
        try:
            self.stop()
        finally:
            self.release()
        super().close()


def _installed() -> list[BackgroundHandler]:
    return [one for one in logging.getLogger().handlers if isinstance(one, BackgroundHandler)]


def _before_fork() -> None:
    """Stop the thread and keep others from logging: a child has neither the thread nor lines.

    The child stays without the thread, and writes its lines directly.
    """
    for handler in _installed():
        handler.acquire()
        handler.stop()


def _after_fork_in_parent() -> None:
    for handler in _installed():
        handler.start()
        handler.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)


def mask(value: str) -> str:
    """An account number as it may be shown: its last four characters, none of a short one."""
    if isinstance(value, UnreadableAccount):
        return "(unreadable)"
    if len(value) < _LONG_ENOUGH:
        return "*" * len(value)
    return "*" * (len(value) - _SHOWN) + value[-_SHOWN:]


def _mask_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _masked(name, value) for name, value in event.items()}


def _masked(name: str, value: Any) -> Any:
    if name in _SECRETS:
        return "***"
    if name in _ACCOUNTS:
        return mask(str(value))
    if isinstance(value, dict):
        return {str(inner): _masked(str(inner), held) for inner, held in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(name, held) for held in value]
    return value


def configure_logging(log_format: Literal["console", "json"], level: int = logging.INFO) -> None:
    """Set up the root logger and structlog for this process; a second call replaces the first.

    Args:
        log_format: `console` for people, `json` for one JSON object a line.
        level: records below it are dropped.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask_fields,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    root = logging.getLogger()
    replaced = _installed()
    root.handlers[:] = [BackgroundHandler(sys.stderr, formatter)]
    root.setLevel(level)
    for handler in replaced:
        handler.close()
