"""Logging: one pipeline for our records and the libraries', and the one place that masks."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.observability.log_stream import UnwaitingHandler

_ACCOUNTS = frozenset({"account_no", "accountNo", "payerAccount"})
_SECRETS = frozenset({"pinCode", "pin_code", "api_key", "apiKey", "sign", "key", "password"})
_SHOWN = 4
_LONG_ENOUGH = 8


def mask(value: str) -> str:
    """An account number as it may be shown: its last four characters, none of a short one."""
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
    handler = UnwaitingHandler(sys.stderr)
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
