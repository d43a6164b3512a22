"""`payouts.callback`: records a callback, verified or not."""

from __future__ import annotations

from typing import Any

from shared.domain import reports
from shared.domain.payout import PayoutState, Transition
from shared.messaging.callback_message import CallbackMessage
from worker.context import Context


def callback(ctx: Context, message: CallbackMessage) -> str | None:
    """Apply a verified callback, record any other; returns the payout's status, None if unknown."""
    report = message.report()
    now, jitter = ctx.clock(), ctx.jitter()

    def decide(payout: PayoutState) -> Transition | None:
        if message.verified:
            return reports.on_callback(
                payout, report, now=now, policy=ctx.policy_of(payout), jitter=jitter
            )
        return reports.on_unverified_callback(payout, now=now, detail=_claims(message))

    account = message.epay_account or ctx.account
    payout = ctx.store.update_by_order_no(account, message.merchant_order_no, decide)
    if payout is None:
        kind = "stray_callback" if message.verified else "stray_callback_unverified"
        actor = "epay" if message.verified else "anybody"
        ctx.store.record_unmatched_event(kind, actor, _claims(message), now)
        return None
    return payout.status.value


def _claims(message: CallbackMessage) -> dict[str, Any]:
    """The fields of the callback, as its event stores them."""
    return message.model_dump(mode="json", exclude={"verified"}, exclude_none=True)
