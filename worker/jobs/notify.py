"""`payouts.notify`: sends the outbox to the requesting apps (law 8)."""

from __future__ import annotations

from worker.context import Context

_BATCH = 200


def notify(ctx: Context) -> int:
    """Send the unsent messages in order; returns how many, 0 while another worker relays."""
    total = 0
    while sent := ctx.store.relay_outbox(ctx.publish_outcome, ctx.clock(), _BATCH):
        total += sent
        if sent < _BATCH:
            break
    return total
