"""The four-eyes rule: one person proposes an action, another approves it. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ops.resolution.actions import PERSON, Action, Decision, NotAllowed, actor_of, detail_of
from shared.domain.payout import PROPOSED, PayoutState, Status, Transition
from shared.domain.transitions import make_transition


def is_needed(payout: PayoutState, action: Action) -> bool:
    """Whether the action is on an unknown outcome, or sets a status that EPAY did not report."""
    if action is Action.ACCEPT_AS:
        return True
    return payout.status is Status.UNKNOWN and action is not Action.NOTE


def proposal(payout: PayoutState, decision: Decision, *, now: datetime) -> Transition:
    """Record an action for a second person to approve; nothing else changes."""
    return make_transition(
        payout,
        payout,
        kind=PROPOSED,
        actor=actor_of(decision),
        now=now,
        detail=detail_of(payout, decision) | {"status": payout.status.value},
    )


def open_proposal(events: Sequence[Mapping[str, Any]]) -> Decision | None:
    """The proposal that waits for approval, from a payout's events in order.

    A later status change or another person's action voids it; a query without a change does not.
    """
    for event in reversed(events):
        if event["kind"] == PROPOSED:
            return _proposed(event)
        acted = event["actor"].startswith(PERSON) and event["kind"] != Action.NOTE
        if acted or event["status_before"] != event["status_after"]:
            return None
    return None


def approved(found: Decision, person: str, reason: str) -> Decision:
    """A proposal with the name of the person who approves it.

    Raises:
        NotAllowed: the same person proposed it.
    """
    if _normalised(person) == _normalised(found.person):
        raise NotAllowed(f"{found.person} proposed it: another person must approve")
    return replace(
        found, person=person, reason=f"{found.reason}; {reason}", proposed_by=found.person
    )


def _proposed(event: Mapping[str, Any]) -> Decision:
    detail = event["detail"]
    end = detail.get("end")
    return Decision(
        action=Action(detail["act"]),
        person=event["actor"].removeprefix(PERSON),
        reason=detail["reason"],
        end=None if end is None else Status(end),
        code=detail.get("code"),
    )


def _normalised(name: str) -> str:
    """A name without case, blanks and Unicode variants."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())
