"""Logging: one pipeline for our records and the libraries', and the one place that masks."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_HIDDEN = frozenset(
    {"account_no", "accountNo", "payerAccount", "pinCode", "pin_code", "api_key", "sign", "key"}
)
_SHOWN = 4


def mask(value: str) -> str:
    """A value that must not be read, as it may be shown: stars and its last four characters."""
    if len(value) <= _SHOWN:
        return "*" * len(value)
    return "*" * (len(value) - _SHOWN) + value[-_SHOWN:]


def _mask_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in _HIDDEN & event.keys():
        event[name] = mask(str(event[name]))
    return event


def configure_logging(log_format: Literal["console", "json"], level: int = logging.INFO) -> None:
    """Set up the root logger and structlog for this process."""
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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
