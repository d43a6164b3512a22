"""How PostgreSQL goes about what a task asks of it: its statements caught, then explained."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) "
_LONG_VALUE = re.compile(r"'[^']{40,}'")


@dataclass(frozen=True)
class Caught:
    """A statement as it went to the driver."""

    text: str
    parameters: Any


@contextmanager
def catching(engine: Engine) -> Iterator[list[Caught]]:
    """Notes what is executed inside the block."""
    caught: list[Caught] = []

    def note(
        _connection: object, _cursor: object, text: str, parameters: Any, *_rest: object
    ) -> None:
        caught.append(Caught(text, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield caught
    finally:
        event.remove(engine, "before_cursor_execute", note)


def plan(
    engine: Engine, statement: Caught, change: Callable[[Any], Any] = lambda parameters: parameters
) -> str:
    """The plan as it was run with the parameters, changed by `change`; nothing of it stays."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(_EXPLAIN + statement.text, change(statement.parameters))
        rows: Sequence[Any] = cursor.fetchall()
    finally:
        connection.rollback()
        connection.close()
    return "\n".join(_LONG_VALUE.sub("'...'", row[0]) for row in rows)
