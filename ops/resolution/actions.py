"""What a person may do with a payout, and when a law forbids it. Pure.

An act is decided on what EPAY answered a moment before (`shared.epay`): nobody settles a payout
without asking once more. Every act is an event with a name and a reason (law 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from shared.domain import review
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.redaction import redact, redact_refusal
from shared.domain.report_match import mismatches
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
    """EPAY has no such order, and it is not to be sent any more."""
    ACCEPT_AS = "accept-as"
    """EPAY said elsewhere how it ended: take that end."""
    RELEASE = "release"
    """Let a payout pass the caps."""
    DISMISS = "settle"
    """What stood in review was looked into: no reason stands any more; the status stays."""
    NOTE = "note"
    """Words for the record; nothing changes."""


PERSON = "person:"
"""Begins the actor of every event that is a person's act."""

FINAL_BY_EPAY = STATUSES_EPAY_REPORTS & FINAL
"""The ends that a payout can be accepted as: those that EPAY gives."""

ASKS_EPAY = frozenset({Action.RESEND, Action.REJECT, Action.ACCEPT_AS})
"""Acts that are decided only on a fresh answer of EPAY."""

_SAYS_NO_END = frozenset({"11"})
"""EPAY's codes of which it does not say whether they are an end (section 6)."""


class NotAllowed(Exception):
    """The act is refused; the text says which rule forbids it, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person wants done: which act, who, why."""

    action: Action
    person: str
    reason: str
    end: Status | None = None
    """Of `Act.ACCEPT_AS` alone."""
    code: str | None = None
    """The code of EPAY's refusal that the person has read, and takes for its answer."""
    proposed_by: str | None = None
    """Who proposed it, where a second person approved."""


def decide(
    payout: PayoutState,
    decision: Decision,
    answer: OrderAnswer | None,
    *,
    now: datetime,
    policy: Policy,
    asked_at: datetime | None = None,
) -> Transition:
    """The step that the act is.

    Args:
        answer: what EPAY answered just now; needed for the acts of `ASKS_EPAY`.
        asked_at: when EPAY was asked; now, if not given.

    Raises:
        NotAllowed: a law forbids it, or EPAY could not be asked.
    """
    if not decision.person.strip() or not decision.reason.strip():
        raise NotAllowed("an act needs a name and a reason")
    if payout.status is Status.SUBMITTING and decision.action is not Action.NOTE:
        raise NotAllowed(
            "a worker is sending it at this moment; look again when its lease is over"
            f" ({payout.due_at:%F %T} UTC)"
        )
    if isinstance(answer, Refused):
        answer = redact_refusal(answer, payout.account_no)
    after = _ACTS[decision.action](_Case(payout, decision, answer, asked_at or now, now, policy))
    return make_transition(
        payout,
        after,
        kind=decision.action.value.replace("-", "_"),
        actor=actor_of(decision),
        now=now,
        detail=detail_of(payout, decision) | _answer_detail(answer),
    )


def choices(payout: PayoutState) -> list[tuple[Action, str]]:
    """The acts that could settle the payout as it stands, each with what it would do."""
    note = (Action.NOTE, "keeps your words with it; nothing changes")
    if payout.status is Status.SUBMITTING:
        return [note]
    found: list[tuple[Action, str]] = []
    if payout.status is Status.QUEUED and review.awaits_release(payout):
        found.append((Action.RELEASE, "sends it, above the cap"))
    if _may_be_sent_again(payout):
        found.append(
            (Action.RESEND, "asks EPAY once more; if it has no such order, sends it again")
        )
    if payout.status in {Status.UNKNOWN, Status.QUEUED}:
        found.append(
            (Action.REJECT, "asks EPAY once more; if it has no such order, ends it unpaid")
        )
    if payout.status in {Status.UNKNOWN, Status.PROCESSING, Status.PENDING_WITHDRAWAL}:
        found.append(
            (Action.ACCEPT_AS, "ends it as EPAY told you, unless EPAY's answer says other")
        )
    if payout.review_reason is not None and payout.status is not Status.QUEUED:
        found.append((Action.DISMISS, "takes the reason back; the status stays as it is"))
    return [*found, note]


@dataclass(frozen=True, slots=True)
class _Case:
    """All that an act is decided on."""

    payout: PayoutState
    decision: Decision
    answer: OrderAnswer | None
    asked_at: datetime
    now: datetime
    policy: Policy


def _resend(case: _Case) -> PayoutState:
    """Law 3, with a person in the place of the configured code."""
    payout = case.payout
    if payout.status is not Status.UNKNOWN and not _is_kept_back(payout):
        raise NotAllowed(f"it is {payout.status}: only what is unknown can be sent again")
    if review.awaits_release(payout):
        raise NotAllowed("a cap holds it: release it instead")
    _require_no_order(case)
    _require_visibility_delay(case)
    if payout.status is Status.UNKNOWN and review.is_sticky(payout):
        raise NotAllowed(f"it is in review for {payout.review_reason}: settle that first")
    if payout.first_sent_at and case.now - payout.first_sent_at > case.policy.resend_horizon:
        raise NotAllowed(
            f"it was first sent {payout.first_sent_at:%F %T} UTC, longer ago than"
            " EPAY_RESEND_HORIZON_SECONDS: reject it, and ask for it under another order number"
        )
    queued = replace(transition(payout, Status.QUEUED), due_at=case.now, absences=(), refusal=None)
    return review.clear_review(queued)


def _reject(case: _Case) -> PayoutState:
    payout = case.payout
    if payout.status not in {Status.QUEUED, Status.UNKNOWN}:
        raise NotAllowed(f"it is {payout.status}: EPAY has it, or it has ended")
    if payout.first_sent_at is not None or isinstance(case.answer, Report):
        _require_no_order(case)
    _require_visibility_delay(case)
    return review.clear_review(finish(payout, Status.REJECTED, case.now))


def _accept_as(case: _Case) -> PayoutState:
    payout, end = case.payout, case.decision.end
    if end not in FINAL_BY_EPAY:
        raise NotAllowed(f"accept-as takes one of {', '.join(sorted(FINAL_BY_EPAY))}")
    if payout.status in FINAL:
        raise NotAllowed(f"it is {payout.status}: final is final")
    if payout.status is Status.QUEUED:
        raise NotAllowed("it waits to be sent, so EPAY cannot have ended it: reject it instead")
    _require_visibility_delay(case)
    if isinstance(case.answer, Report):
        _require_agreement(payout, end, case.answer)
    else:
        _require_refusal_was_read(case)
    return review.clear_review(finish(payout, end, case.now))


def _require_agreement(payout: PayoutState, end: Status, report: Report) -> None:
    """EPAY's own word goes before a person's, where it has one."""
    code = report.status or ""
    said = status_from_epay(code)
    if said is end or code not in STATUS_OF_EPAY_CODE or code in _SAYS_NO_END:
        return
    told = f"EPAY says status {code} ({said}) just now"
    if said in FINAL and not mismatches(payout, report):
        raise NotAllowed(f"{told}: `payouts show --refresh` takes that end over")
    raise NotAllowed(f"{told}: it cannot be accepted as {end} against EPAY's word")


def _release(case: _Case) -> PayoutState:
    payout = case.payout
    if payout.status is not Status.QUEUED or not review.awaits_release(payout):
        raise NotAllowed("no cap holds it: there is nothing to release")
    return review.clear_review(replace(payout, released_at=case.now, due_at=case.now))


def _dismiss(case: _Case) -> PayoutState:
    payout = case.payout
    if payout.review_reason is None:
        raise NotAllowed("it is not in review: there is nothing to settle")
    if payout.status is Status.QUEUED:
        raise NotAllowed("it waits to be sent: release, resend or reject it")
    due_at = None if payout.due_at is None else min(payout.due_at, case.now)
    return review.clear_review(replace(payout, due_at=due_at))


def _note(case: _Case) -> PayoutState:
    return case.payout


_ACTS: Mapping[Action, Callable[[_Case], PayoutState]] = MappingProxyType(
    {
        Action.RESEND: _resend,
        Action.REJECT: _reject,
        Action.ACCEPT_AS: _accept_as,
        Action.RELEASE: _release,
        Action.DISMISS: _dismiss,
        Action.NOTE: _note,
    }
)


def _is_kept_back(payout: PayoutState) -> bool:
    """Queued, and in review: most such payouts are not sent by themselves."""
    return payout.status is Status.QUEUED and payout.review_reason is not None


def _may_be_sent_again(payout: PayoutState) -> bool:
    """Whether nothing in the payout itself forbids a resend."""
    if review.awaits_release(payout) or _is_past_horizon(payout):
        return False
    if payout.status is Status.UNKNOWN:
        return not review.is_sticky(payout)
    return _is_kept_back(payout)


def _is_past_horizon(payout: PayoutState) -> bool:
    reason = payout.review_reason
    return reason is not None and review.code_of(reason) == review.RESEND_HORIZON


def _require_no_order(case: _Case) -> None:
    """Refuse unless EPAY just said that it has no such order.

    Where codes are configured for that (law 3), only they say so. Where none is, a person reads
    EPAY's words, and names the code that was read: another one is another answer.
    """
    if isinstance(case.answer, Report):
        raise NotAllowed(
            f"EPAY shows the order ({case.answer.epay_order_no or 'no number'}, status"
            f" {case.answer.status}): it is followed, not sent again and not rejected"
        )
    refused = _refusal(case)
    known = case.policy.not_found_codes
    if known and refused.code not in known:
        raise NotAllowed(
            f"EPAY answers code {refused.code} ({refused.message}), which is not in"
            " EPAY_NOT_FOUND_CODES: only those say that EPAY has no such order"
        )
    if not known:
        _require_code_was_named(case, refused)


def _require_refusal_was_read(case: _Case) -> None:
    """Refuse unless EPAY refuses to tell, in words that the person has read."""
    refused = _refusal(case)
    if refused.code not in case.policy.not_found_codes:
        _require_code_was_named(case, refused)


def _require_code_was_named(case: _Case, refused: Refused) -> None:
    if refused.code != case.decision.code:
        raise NotAllowed(
            f"EPAY answers code {refused.code} ({refused.message}), and no setting says what that"
            f" means: if EPAY told you that it means `no such order`, say so: --code {refused.code}"
        )


def _refusal(case: _Case) -> Refused:
    match case.answer:
        case Refused() as refused:
            return refused
        case NeverSent(reason) | OutcomeUnknown(reason):
            raise NotAllowed(f"EPAY could not be asked ({reason}): try again when it answers")
        case _:
            raise NotAllowed("EPAY was not asked")


def _require_visibility_delay(case: _Case) -> None:
    """What was sent a moment ago may not show yet, even to a person who asks."""
    payout = case.payout
    if payout.status is Status.QUEUED or payout.last_sent_at is None:
        return
    until = payout.last_sent_at + case.policy.visibility_delay
    if case.asked_at < until:
        left = (until - case.asked_at) // timedelta(seconds=1) + 1
        raise NotAllowed(
            f"it was sent {payout.last_sent_at:%F %T} UTC and may not show at EPAY yet: ask again"
            f" in {left} s (EPAY_SETTLE_SECONDS)"
        )


def actor_of(decision: Decision) -> str:
    """The actor of an event that is this person's act."""
    return f"{PERSON}{decision.person.strip()}"


def detail_of(payout: PayoutState, decision: Decision) -> dict[str, Any]:
    """What an event keeps of a decision; the payee's account is blotted out of the reason."""
    return {
        "act": decision.action.value,
        "reason": redact(decision.reason.strip(), payout.account_no),
        "end": decision.end,
        "code": decision.code,
        "proposed_by": decision.proposed_by,
    }


def _answer_detail(answer: OrderAnswer | None) -> dict[str, Any]:
    match answer:
        case None:
            return {}
        case Report(status=status, epay_order_no=epay_order_no):
            return {"epay_status": status, "epay_order_no": epay_order_no}
        case Refused(code, message):
            return {"epay_code": code, "epay_message": message}
        case NeverSent(reason) | OutcomeUnknown(reason):
            return {"epay": reason}
