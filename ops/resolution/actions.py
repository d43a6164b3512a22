"""The actions of people on a payout, and when a law forbids one. Pure.

An action that sends, ends or rejects a payout is decided on a fresh answer of EPAY. Every action is
an event with a name and a reason (law 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ops.wording.gateway_answers import WHY_NO_CONTROL, answer_detail
from shared.domain import review
from shared.domain.absence_proof import Control
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.redaction import redact, redact_refusal
from shared.domain.report_match import mismatches, names_second_order
from shared.domain.transitions import (
    FINAL,
    STATUS_OF_EPAY_CODE,
    STATUSES_EPAY_REPORTS,
    finish,
    make_transition,
    status_from_epay,
    transition,
)


class Action(StrEnum):
    """What a person can decide about one payout."""

    RESEND = "resend"
    """EPAY has no such order: send it again under the same number."""
    REJECT = "reject"
    """EPAY has no such order: end it unpaid."""
    ACCEPT_AS = "accept-as"
    """EPAY named its final status elsewhere: take that status."""
    RELEASE = "release"
    """Let a payout pass the caps."""
    DISMISS = "settle"
    """Close the review; the status stays. The journal keeps the kind `settle`."""
    NOTE = "note"
    """A comment for the record; nothing changes."""

    @property
    def verb(self) -> str:
        """The word that people type."""
        return "dismiss" if self is Action.DISMISS else self.value


PERSON = "person:"
"""Prefix of the actor of every event that is a person's action."""

FINAL_BY_EPAY = STATUSES_EPAY_REPORTS & FINAL
"""The final statuses that EPAY gives, and that a payout can be accepted as."""

ASKS_EPAY = frozenset({Action.RESEND, Action.REJECT, Action.ACCEPT_AS})
"""Actions that need a fresh answer of EPAY."""

_MAYBE_FINAL = frozenset({"11"})
"""EPAY's status codes that its documentation does not call final or open (section 6)."""


class NotAllowed(Exception):
    """The action is refused; the text names the rule, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person wants done: which action, who, why."""

    action: Action
    person: str
    reason: str
    end: Status | None = None
    """Of `Action.ACCEPT_AS` only."""
    code: str | None = None
    """The code of EPAY's refusal that the person has read and takes for `no such order`."""
    proposed_by: str | None = None
    """Who proposed it, if a second person approved."""


def decide(
    payout: PayoutState,
    decision: Decision,
    answer: OrderAnswer | None,
    *,
    now: datetime,
    policy: Policy,
    asked_at: datetime | None = None,
    control: Control = Control.MISSING,
    forgetful: bool = False,
) -> Transition:
    """The transition of the action.

    Args:
        answer: EPAY's fresh answer; the actions of `ASKS_EPAY` need one.
        asked_at: when EPAY was queried; default: now.
        control: how EPAY answered just after about an order that it must know (law 12).
        forgetful: the database went back in time, and may have forgotten a send (law 11).

    Raises:
        NotAllowed: a law forbids it, or EPAY could not be queried.
    """
    if not decision.person.strip() or not decision.reason.strip():
        raise NotAllowed("an action needs a name and a reason")
    if decision.action is not Action.NOTE:
        require_account(payout, policy)
        if payout.status is Status.SUBMITTING:
            until = f"{payout.due_at:%F %T} UTC"
            raise NotAllowed(f"a worker is sending it; try again when its lease expires ({until})")
    if isinstance(answer, Refused):
        answer = redact_refusal(answer, payout.account_no)
    case = _Case(payout, decision, answer, asked_at or now, now, policy, control, forgetful)
    after = _ACTIONS[decision.action](case)
    return make_transition(
        payout,
        after,
        kind=decision.action.value.replace("-", "_"),
        actor=actor_of(decision),
        now=now,
        detail=detail_of(payout, decision) | answer_detail(answer),
    )


def require_account(payout: PayoutState, policy: Policy) -> None:
    """With another account's key EPAY answers `no such order`, whatever the order's state."""
    if missing := policy.missing_account(payout):
        raise NotAllowed(
            f"{missing}: configure the account and the gateway that it was accepted for"
            " (EPAY_ACCOUNT, EPAY_BASE_URL, EPAY_FORMER_HOSTS if it only moved) and act then"
        )


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything that decides an action."""

    payout: PayoutState
    decision: Decision
    answer: OrderAnswer | None
    asked_at: datetime
    now: datetime
    policy: Policy
    control: Control
    forgetful: bool


def _resend(case: _Case) -> PayoutState:
    """Law 3; where no code is configured, a person names it."""
    payout = case.payout
    if payout.status is not Status.UNKNOWN and not _is_held_for_review(payout):
        raise NotAllowed(f"it is {payout.status}: only an unknown payout can be sent again")
    if review.awaits_release(payout):
        raise NotAllowed("a cap holds it: release it instead")
    _require_no_order(case)
    _require_visibility_delay(case)
    _require_control(case)
    if payout.status is Status.UNKNOWN and review.is_sticky(payout):
        raise NotAllowed(f"it is in review for {payout.review_reason}: dismiss that first")
    if payout.first_sent_at and case.now - payout.first_sent_at > case.policy.resend_horizon:
        raise NotAllowed(
            f"it was first sent {payout.first_sent_at:%F %T} UTC, longer ago than"
            " EPAY_RESEND_HORIZON_SECONDS: reject it, and request it under another order number"
        )
    queued = replace(transition(payout, Status.QUEUED), due_at=case.now, absences=(), refusal=None)
    return review.clear_review(queued)


def _reject(case: _Case) -> PayoutState:
    payout = case.payout
    if payout.status not in {Status.QUEUED, Status.UNKNOWN}:
        raise NotAllowed(f"it is {payout.status}: EPAY has it, or it is final")
    was_sent = payout.first_sent_at is not None or case.forgetful
    if was_sent or isinstance(case.answer, Report):
        _require_no_order(case)
        _require_visibility_delay(case)
        _require_control(case)
    _require_visibility_delay(case)
    return review.clear_review(finish(payout, Status.REJECTED, case.now))


def _accept_as(case: _Case) -> PayoutState:
    payout, end = case.payout, case.decision.end
    if end not in FINAL_BY_EPAY:
        raise NotAllowed(f"accept-as takes one of {', '.join(sorted(FINAL_BY_EPAY))}")
    if payout.status in FINAL:
        raise NotAllowed(f"it is {payout.status}, and a final status does not change")
    if payout.status is Status.QUEUED:
        raise NotAllowed("it is queued, so EPAY cannot have ended it: reject it instead")
    _require_visibility_delay(case)
    if isinstance(case.answer, Report):
        _require_agreement(payout, end, case.answer)
    else:
        _require_no_order(case, accepts_any_code=True)
    return review.clear_review(finish(payout, end, case.now))


def _require_agreement(payout: PayoutState, end: Status, report: Report) -> None:
    """EPAY's own answer has precedence over a person's, if it names a status.

    An answer about a second order under this number says nothing of this payout (law 13).
    """
    if names_second_order(payout, report):
        return
    code = report.status or ""
    status = status_from_epay(code)
    if status is end or code not in STATUS_OF_EPAY_CODE or code in _MAYBE_FINAL:
        return
    answer = f"EPAY answers status {code} ({status})"
    if status in FINAL and not mismatches(payout, report):
        raise NotAllowed(f"{answer}: `payouts show --refresh` records that status")
    raise NotAllowed(f"{answer}: it cannot be accepted as {end} against EPAY's answer")


def _release(case: _Case) -> PayoutState:
    payout = case.payout
    if payout.status is not Status.QUEUED or not review.awaits_release(payout):
        raise NotAllowed("no cap holds it: there is nothing to release")
    return review.clear_review(replace(payout, released_at=case.now, due_at=case.now))


def _dismiss(case: _Case) -> PayoutState:
    payout = case.payout
    if payout.review_reason is None:
        raise NotAllowed("it is not in review: there is nothing to dismiss")
    if payout.status is Status.QUEUED:
        raise NotAllowed("it is queued: release, resend or reject it")
    due_at = None if payout.due_at is None else min(payout.due_at, case.now)
    return review.clear_review(replace(payout, due_at=due_at))


_ACTIONS: Mapping[Action, Callable[[_Case], PayoutState]] = {
    Action.RESEND: _resend,
    Action.REJECT: _reject,
    Action.ACCEPT_AS: _accept_as,
    Action.RELEASE: _release,
    Action.DISMISS: _dismiss,
    Action.NOTE: lambda case: case.payout,
}


def _is_held_for_review(payout: PayoutState) -> bool:
    """Queued and in review: most such payouts are not sent automatically."""
    return payout.status is Status.QUEUED and payout.review_reason is not None


def _require_no_order(case: _Case, *, accepts_any_code: bool = False) -> None:
    """Refuse unless EPAY answered just now that it has no such order.

    Only configured codes mean that (law 3). If none is configured, or `accepts_any_code`, a person
    reads EPAY's message and names its code; an answer with another code is refused.
    """
    match case.answer:
        case Refused(code, message):
            answer = f"EPAY answers code {code} ({message})"
        case Report(epay_order_no=number, status=status):
            raise NotAllowed(
                f"EPAY shows the order ({number or 'no number'}, status {status}): it is followed,"
                " and neither sent again nor rejected"
            )
        case NeverSent(reason) | OutcomeUnknown(reason):
            raise NotAllowed(f"EPAY could not be queried ({reason}): try again when it answers")
        case _:
            raise NotAllowed("EPAY was not queried")
    known = case.policy.not_found_codes
    if code in known:
        return
    if known and not accepts_any_code:
        raise NotAllowed(
            f"{answer}, which is not in EPAY_NOT_FOUND_CODES: only those mean that EPAY has no such"
            " order"
        )
    if code != case.decision.code:
        raise NotAllowed(
            f"{answer}, and no setting says what that means: if EPAY told you that it means `no"
            f" such order`, add --code {code}"
        )


def _require_control(case: _Case) -> None:
    """Refuse unless EPAY, asked in the same act, showed an order that it must know (law 12)."""
    if case.control is not Control.PASSED:
        raise NotAllowed(WHY_NO_CONTROL[case.control])


def _require_visibility_delay(case: _Case) -> None:
    """Refuse while the order may not show at EPAY yet (law 3)."""
    payout = case.payout
    if payout.status is Status.QUEUED or payout.last_sent_at is None:
        return
    until = payout.last_sent_at + case.policy.visibility_delay
    if case.asked_at < until:
        left = (until - case.asked_at) // timedelta(seconds=1) + 1
        raise NotAllowed(
            f"it was sent {payout.last_sent_at:%F %T} UTC and may not show at EPAY yet: try again"
            f" in {left} s (EPAY_SETTLE_SECONDS)"
        )


def possible_actions(payout: PayoutState) -> list[tuple[Action, str]]:
    """The actions that the payout's own state allows, each with its effect."""
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
    code = review.code_of(payout.review_reason or "")
    if review.awaits_release(payout) or code == review.RESEND_HORIZON:
        return False
    if payout.status is Status.UNKNOWN:
        return not review.is_sticky(payout)
    return _is_held_for_review(payout)


def actor_of(decision: Decision) -> str:
    """The actor of the event of this person's action."""
    return f"{PERSON}{decision.person.strip()}"


def detail_of(payout: PayoutState, decision: Decision) -> dict[str, Any]:
    """The event's part of a decision; the payee's account is redacted from the reason."""
    return {
        "act": decision.action.value,
        "reason": redact(decision.reason.strip(), payout.account_no),
        "end": decision.end,
        "code": decision.code,
        "proposed_by": decision.proposed_by,
    }
