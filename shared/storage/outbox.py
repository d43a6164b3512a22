"""The outbox: messages to requesting apps, stored with the change, published in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Engine

from shared.domain.notifications import Message
from shared.storage.row_mapping import dumps, message_row
from shared.storage.statements import ADD_MESSAGES, RELAY_TRY, SENT, UNSENT

_RELAY_LOCK = 0x6F757462
_RELAY_SECONDS = 5
"""Ends a round with a slow broker, well before PostgreSQL ends the idle transaction."""


def add_messages(
    engine: Engine, payout_id: int | None, messages: Sequence[Message], now: datetime
) -> None:
    """Queue messages that belong to no change of a payout.

    Args:
        engine: each statement on it is a transaction.
    """
    rows = [{"payout_id": payout_id, **message_row(message, now)} for message in messages]
    with engine.connect() as connection:
        connection.execute(ADD_MESSAGES, {"messages": dumps(rows)})


def relay_outbox(
    engine: Engine, publish: Callable[[Message], None], now: datetime, limit: int
) -> int:
    """Publish unsent messages in order and mark them sent (law 8).

    An advisory lock lets one relay run at a time. Delivery is at least once: after a crash before
    the commit, messages are published again. An error of `publish` ends the round and is raised;
    the messages published before it are marked.

    Returns:
        How many were published; 0 if another relay is running.
    """
    sent: list[int] = []
    with engine.connect() as connection:
        if not connection.execute(RELAY_TRY, {"key": _RELAY_LOCK}).scalar_one():
            return 0
        try:
            until = time.monotonic() + _RELAY_SECONDS
            for row in connection.execute(UNSENT, {"limit": limit}).all():
                publish(Message(row.task, row.queue, row.kwargs))
                sent.append(row.id)
                if time.monotonic() > until:
                    break
        finally:
            if sent:
                connection.execute(SENT, {"now": now, "ids": sent})
                connection.commit()
        return len(sent)
