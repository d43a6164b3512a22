"""Two people for what may move money: one proposes an act, another approves it. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ops.resolution.actions import PERSON, Action, Decision, NotAllowed, actor_of, detail_of
from shared.domain.payout import PROPOSED, PayoutState, Status, Transition
from shared.domain.transitions import make_transition


def is_needed(payout: PayoutState, decision: Decision) -> bool:
    """Whether the act turns on an outcome that nobody knows, or says an end that EPAY does not."""
    if decision.action is Action.ACCEPT_AS:
        return True
    return payout.status is Status.UNKNOWN and decision.action is not Action.NOTE


def proposal(payout: PayoutState, decision: Decision, *, now: datetime) -> Transition:
    """Put an act on record for a second person to approve; nothing else changes."""
    return make_transition(
        payout,
        payout,
        kind=PROPOSED,
        actor=actor_of(decision),
        now=now,
        detail=detail_of(payout, decision) | {"status": payout.status.value},
    )


def open_proposal(events: Sequence[Mapping[str, Any]]) -> Decision | None:
    """The proposal that waits for approval, of a payout's events in order.

    A move of the payout or another act has overtaken it; a query that moved nothing has not.
    """
    for event in reversed(events):
        if event["kind"] == PROPOSED:
            return _proposed(event)
        acted = event["actor"].startswith(PERSON) and event["kind"] != Action.NOTE
        if acted or event["status_before"] != event["status_after"]:
            return None
    return None


def approved(found: Decision, person: str, reason: str) -> Decision:
    """A proposal with a second person's name to it.

    Raises:
        NotAllowed: it is the same person.
    """
    if _same(person, found.person):
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


def _same(one: str, other: str) -> bool:
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    """A name without what does not make it another person's: case, blanks, ways to write it."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())
