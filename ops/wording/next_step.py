"""What a payout that has not ended waits for, and what a person can do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ops.console import when
from shared.domain.payout import PayoutState, Status
from shared.domain.policy import Policy
from shared.domain.transitions import FINAL
from shared.storage.pauses import Pause


def waits_for(payout: PayoutState, pauses: Sequence[Pause], policy: Policy) -> str | None:
    """In a line or two; None where nothing is waited for.

    Args:
        payout: as it stands.
        pauses: those in force.
        policy: the service's; that of other settings says what is not so.
    """
    if payout.review_reason is not None:
        return "a person: `payouts review` has the choices and what to type"
    if payout.status in FINAL:
        return None
    match payout.status:
        case Status.QUEUED:
            return _queued(payout, pauses)
        case Status.SUBMITTING:
            return "the worker that sends it; should that have died, another look is taken"
        case Status.UNKNOWN:
            return _unknown(payout, policy)
        case _:
            return "EPAY, which has it and is asked until it names an end"


def _queued(payout: PayoutState, pauses: Sequence[Pause]) -> str:
    held = [pause for pause in pauses if pause.scope.covers(payout)]
    if not held:
        return "being sent; what may hold it back: `payouts brakes`"
    words = "; ".join(
        f"{pause.scope} paused by {pause.set_by} since {when(pause.set_at)} ({pause.reason})"
        for pause in held
    )
    return f"the end of a pause: {words}. `payouts resume` ends it"


def _unknown(payout: PayoutState, policy: Policy) -> str:
    if payout.last_sent_at is None:
        return "EPAY's word: it is asked about"
    until = when(payout.last_sent_at + policy.visibility_delay)
    words = "EPAY's word: it may be paid, and is asked about."
    if policy.not_found_codes:
        proof = "`no such order` is believed"
        after = "it is rejected" if payout.refusal is not None else "it is sent again"
        return f"{words} From {until} on {proof} when it was answered often enough; then {after}"
    return f"{words} If EPAY does not show it, a person decides, from {until} on"
