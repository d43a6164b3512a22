"""`payouts.notify`: sends the outbox to the requesting apps (laws 8 and 15)."""

from __future__ import annotations

from worker.context import Context

_BATCH = 200


def notify(ctx: Context) -> int:
    """Send the unsent messages in order; returns how many, 0 while another worker relays.

    A queue that refuses a message is skipped for this round.
    """
    total = 0
    refused: set[str] = set()
    while True:
        known = len(refused)
        sent = ctx.store.relay_outbox(ctx.publish_outcome, ctx.clock(), _BATCH, refused)
        total += sent
        if sent < _BATCH and len(refused) == known:
            return total
