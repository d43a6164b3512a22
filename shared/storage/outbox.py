"""The outbox: messages to requesting apps, stored with the change, published in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Engine

from shared.domain.notifications import Message
from shared.storage.row_mapping import dumps, message_row
from shared.storage.statements import ADD_MESSAGES, RELAY_TRY, SENT, UNSENT, UNSENT_BESIDE

_RELAY_LOCK = 0x6F757462
_RELAY_SECONDS = 5
"""Ends a round with a slow broker, well before PostgreSQL ends the idle transaction."""


class QueueRefused(Exception):
    """A queue takes no messages, while the broker answers; other queues go on (law 15)."""


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
    engine: Engine,
    publish: Callable[[Message], None],
    now: datetime,
    limit: int,
    refused: set[str],
) -> int:
    """Publish unsent messages in order and mark them sent (law 8).

    The messages of a queue that refuses one are skipped, and so are later ones of its payout.

    An advisory lock lets one relay run at a time. Delivery is at least once: after a crash before
    the commit, messages are published again. An error of `publish` ends the round and is raised;
    the messages published before it are marked.

    Args:
        limit: at most so many are read.
        refused: queues to skip; those that refuse a message are added.

    Returns:
        How many were published; 0 if another relay is running.
    """
    sent: list[int] = []
    with engine.connect() as connection:
        if not connection.execute(RELAY_TRY, {"key": _RELAY_LOCK}).scalar_one():
            return 0
        try:
            until = time.monotonic() + _RELAY_SECONDS
            values = {"limit": limit, "refused": list(refused)} if refused else {"limit": limit}
            rows = connection.execute(UNSENT_BESIDE if refused else UNSENT, values).all()
            behind: set[int] = set()  # payouts with a message that was refused
            for row in rows:
                if row.queue not in refused and row.payout_id not in behind:
                    try:
                        publish(Message(row.task, row.queue, row.kwargs))
                        sent.append(row.id)
                    except QueueRefused:
                        refused.add(row.queue)
                if row.queue in refused and row.payout_id is not None:
                    behind.add(row.payout_id)
                if time.monotonic() > until:
                    break
        finally:
            if sent:
                connection.execute(SENT, {"now": now, "ids": sent})
                connection.commit()
        return len(sent)
