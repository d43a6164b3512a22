"""What an open payout waits for, and what a person can do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ops.console import when
from ops.wording.pauses import how_to_lift
from shared.domain.payout import PayoutState, Status
from shared.domain.policy import Policy
from shared.domain.transitions import FINAL
from shared.storage.pauses import Pause


def waits_for(payout: PayoutState, pauses: Sequence[Pause], policy: Policy) -> str | None:
    """One or two sentences; None for a final payout without a review.

    Args:
        payout: its present state.
        pauses: those in force.
        policy: the service's; with other settings the text is wrong.
    """
    if payout.review_reason is not None:
        return "a person: `payouts review` shows the choices and the commands"
    if payout.status in FINAL:
        return None
    match payout.status:
        case Status.QUEUED:
            return _queued(payout, pauses)
        case Status.SUBMITTING:
            return "the worker that sends it; if that worker died, it is checked again"
        case Status.UNKNOWN:
            return _unknown(payout, policy)
        case _:
            return "EPAY, which has the order and is queried until it reports a final status"


def _queued(payout: PayoutState, pauses: Sequence[Pause]) -> str:
    held = [pause for pause in pauses if pause.scope.covers(payout)]
    if not held:
        return "a worker that sends it; `payouts controls` shows what may hold it back"
    described = ". Also: ".join(
        f"{pause.scope} paused by {pause.set_by} since {when(pause.set_at)} ({pause.reason});"
        f" {how_to_lift(pause)}"
        for pause in held
    )
    return f"the end of a pause: {described}"


def _unknown(payout: PayoutState, policy: Policy) -> str:
    if payout.last_sent_at is None:
        return "EPAY's answer: it is queried"
    until = when(payout.last_sent_at + policy.visibility_delay)
    begin = "EPAY's answer: it may be paid, and is queried."
    if policy.not_found_codes:
        after = "rejected" if payout.refusal is not None else "sent again"
        return f"{begin} If EPAY still answers `no such order` after {until}, it is {after}"
    return f"{begin} If EPAY does not show it, a person decides, after {until}"
