"""A log handler for many threads: none waits for another to have its line written."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TextIO

_MOST_WAITING = 10_000
"""Lines."""


class UnwaitingHandler(logging.Handler):
    """Writes lines to a stream, at once; those that come while one is written go out with the next.

    The standard library's handler is a lock around a write, and a write lets other threads run:
    with many of them at work all queue up there, for longer than a payout's two commits take.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque()
        self._writing = threading.Lock()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        """Who was writing is not in this process, and writes what there was in the other."""
        self._lines.clear()
        self._writing = threading.Lock()

    def createLock(self) -> None:  # noqa: N802 - the standard library's name
        """Have none: formatting touches nothing that threads share."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, or leave it to the thread that is writing."""
        try:
            self._lines.append(self.format(record) + "\n")
            # where much is left to others the stream is slow: whoever says more waits for it
            self._drain(wait=len(self._lines) > _MOST_WAITING)
        except Exception:  # noqa: BLE001 - as every handler of the standard library
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all lines are written."""
        self._drain(wait=True)

    def _drain(self, *, wait: bool) -> None:
        # asked again after each turn: a line that came at its end was left to us
        while self._lines and self._writing.acquire(blocking=wait):
            try:
                self._write()
            finally:
                self._writing.release()

    def _write(self) -> None:
        """Lines that the stream refuses are gone, whoever's they are; the next are tried again."""
        text = "".join([self._lines.popleft() for _ in range(len(self._lines))])
        if text:
            self._stream.write(text)
            self._stream.flush()
