"""The comparison of a day's payouts with EPAY's current answers. Pure.

A final payout is compared as it is and never overwritten (law 5). A payout that is not final takes
the answer as it takes the answer to any query; a change of its status is not a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from shared.domain import reports, review
from shared.domain.absence_proof import Control
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.redaction import redact_refusal
from shared.domain.report_match import mismatches
from shared.domain.transitions import FINAL, make_transition, status_from_epay

KIND = "books"
"""The kind, and the actor, of the event that records a difference."""

_AT_EPAY = frozenset({Status.PROCESSING, Status.PENDING_WITHDRAWAL})


class Verdict(StrEnum):
    """The result of one comparison."""

    AGREED = "agreed"
    DIFFERS = "differs"
    UNANSWERED = "unanswered"
    """EPAY gave no answer, or one that says nothing about the order."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict, with the differences or the reason why there is no answer."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


_AGREED = Comparison(Verdict.AGREED)
_MOVED = Comparison(Verdict.UNANSWERED, ("the payout moved while EPAY was asked",))


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """The begin of the day (UTC) and the begin of the next one."""
    begin = datetime.combine(day, time(), UTC)
    return begin, begin + timedelta(days=1)


def latest_day(now: datetime, after: timedelta) -> date:
    """The last day (UTC) that ended at least `after` ago."""
    return (now - after).astimezone(UTC).date() - timedelta(days=1)


def epay_answered(answer: OrderAnswer) -> bool:
    """Whether EPAY itself answered, with a report or a refusal."""
    return isinstance(answer, Report | Refused)


def reconcile(
    payout: PayoutState,
    answer: OrderAnswer,
    *,
    asked_at: datetime,
    now: datetime,
    policy: Policy,
    jitter: float,
    control: Control = Control.MISSING,
) -> tuple[Comparison, Transition | None]:
    """Compare a payout with EPAY's answer; the result, and the transition that records it.

    A difference of a final payout is recorded once, however often it is found, and sets a review
    reason: that of `reports` if it sets one, else `books`.

    Args:
        asked_at: when the query began.
        control: how the control of the same wave came out; without one no absence counts.
    """
    if missing := policy.missing_account(payout):
        return Comparison(Verdict.UNANSWERED, (missing,)), None
    found = compare(payout, answer, asked_at=asked_at, policy=policy, control=control)
    is_final, differs = payout.status in FINAL, found.verdict is Verdict.DIFFERS
    names_order = isinstance(answer, Report) and not payout.epay_order_no and answer.epay_order_no
    if not epay_answered(answer) or (is_final and not differs and not names_order):
        return found, None
    transition = reports.on_query_answer(
        payout, answer, asked_at=asked_at, now=now, policy=policy, jitter=jitter, control=control
    )
    if not differs or not (is_final or payout.status is Status.QUEUED):
        return found, transition
    message = "; ".join(found.reasons)
    after = payout if transition is None else transition.after
    if not review.is_sticky(after):
        after = review.flag(after, review.BOOKS, message, now)
    recorded = make_transition(
        payout, after, kind=KIND, actor=KIND, now=now, detail={"differs": message}
    )
    # a queued payout can still be sent, so it is flagged each time
    return found, replace(recorded, skip_if_already_recorded=is_final)


def compare(
    payout: PayoutState,
    answer: OrderAnswer,
    *,
    asked_at: datetime,
    policy: Policy,
    control: Control = Control.MISSING,
) -> Comparison:
    """Compare the payout with the answer to a query that began at `asked_at`."""
    match answer:
        case NeverSent(reason) | OutcomeUnknown(reason):
            return Comparison(Verdict.UNANSWERED, (reason,))
        case Refused(code) if code in policy.not_found_codes and control is Control.PASSED:
            differences = list(_missing_order(payout, code))
            is_late = payout.updated_at > asked_at
        case Refused():
            reason = str(redact_refusal(answer, payout.account_no))
            return Comparison(Verdict.UNANSWERED, (reason,))
        case Report():
            conflicts = mismatches(payout, answer)
            differences = [*conflicts, *_other_status(payout, answer)]
            is_late = payout.updated_at > asked_at and not (
                conflicts or status_from_epay(answer.status) in FINAL
            )
    if differences and is_late:
        return _MOVED  # EPAY answered before the payout reached its present status
    return Comparison(Verdict.DIFFERS, tuple(differences)) if differences else _AGREED


def _ended_by_epay(payout: PayoutState) -> bool:
    """Whether EPAY reported the final status; else a person set it, or the payout was rejected."""
    return payout.status in FINAL and status_from_epay(payout.epay_status) is payout.status


def _missing_order(payout: PayoutState, code: str) -> Iterator[str]:
    """The difference if EPAY reported the order before and has it no more."""
    if payout.status in _AT_EPAY or _ended_by_epay(payout):
        yield f"EPAY has no such order (code {code}), and it is {payout.status}"


def _other_status(payout: PayoutState, report: Report) -> Iterator[str]:
    """The differences of a final or queued payout, for which a new status is no progress."""
    if payout.status not in FINAL and payout.status is not Status.QUEUED:
        return
    status = status_from_epay(report.status)
    if report.status and status is not payout.status:
        yield f"EPAY says {status} (status {report.status}), and it is {payout.status}"
    if payout.status in FINAL:
        yield from _other_fee(payout, report)


def _other_fee(payout: PayoutState, report: Report) -> Iterator[str]:
    """Another fee."""
    ours, theirs = payout.fee, report.fee
    if theirs is not None and theirs != ours and (ours is not None or _ended_by_epay(payout)):
        yield f"fee {theirs:f} instead of {'none' if ours is None else f'{ours:f}'}"
