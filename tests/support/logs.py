"""Logging within a test: what was written, and the root logger as it was before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.observability.logging import BackgroundHandler


@contextmanager
def root_logger_restored() -> Iterator[None]:
    """Undo what `configure_logging` does to the root logger of the test process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        write_queued_lines()
        root.handlers[:] = handlers
        root.setLevel(level)


def write_queued_lines() -> None:
    """As at the end of a process; later lines are written at once."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, BackgroundHandler):
            handler.close()


def written_logs(capsys: pytest.CaptureFixture[str]) -> str:
    """What is on stderr once all queued lines are written."""
    write_queued_lines()
    return capsys.readouterr().err
