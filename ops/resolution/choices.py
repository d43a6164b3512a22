"""The actions that a payout's own state allows, for `payouts review` and its readers. Pure."""

from __future__ import annotations

from ops.resolution.actions import Action, is_held_for_review
from shared.domain import review
from shared.domain.payout import PayoutState, Status


def possible_actions(payout: PayoutState) -> list[tuple[Action, str]]:
    """The actions that are possible in the payout's state, each with its effect."""
    note = (Action.NOTE, "adds a comment to the journal; nothing changes")
    if payout.status is Status.SUBMITTING:
        return [note]
    found: list[tuple[Action, str]] = []
    if payout.status is Status.QUEUED and review.awaits_release(payout):
        found.append((Action.RELEASE, "sends it, above the cap"))
    if _may_be_sent_again(payout):
        found.append((Action.RESEND, "queries EPAY; if it has no such order, sends it again"))
    if payout.status in {Status.UNKNOWN, Status.QUEUED}:
        found.append((Action.REJECT, "queries EPAY; if it has no such order, ends it unpaid"))
    if payout.status in {Status.UNKNOWN, Status.PROCESSING, Status.PENDING_WITHDRAWAL}:
        found.append(
            (Action.ACCEPT_AS, "ends it as EPAY told you, unless EPAY's answer says otherwise")
        )
    if payout.review_reason is not None and payout.status is not Status.QUEUED:
        found.append((Action.DISMISS, "closes the review; the status stays"))
    return [*found, note]


def _may_be_sent_again(payout: PayoutState) -> bool:
    """Whether the payout's own state allows a resend."""
    code = review.code_of(payout.review_reason or "")
    if review.awaits_release(payout) or code == review.RESEND_HORIZON:
        return False
    if payout.status is Status.UNKNOWN:
        return not review.is_sticky(payout)
    return is_held_for_review(payout)
