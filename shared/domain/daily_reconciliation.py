"""What EPAY says of a payout, held against the row that we keep. Pure.

A final row is compared as it stands, and nothing of it is overwritten (law 5). One that is not
final takes the answer as it takes every answer to a query: it moves on, which is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from shared.domain import reports, review
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.redaction import redact_refusal
from shared.domain.report_match import mismatches
from shared.domain.transitions import FINAL, make_transition, status_from_epay

KIND = "books"
"""The kind, and the actor, of the event that a difference is."""

_AT_EPAY = frozenset({Status.PROCESSING, Status.PENDING_WITHDRAWAL})


class Verdict(StrEnum):
    """How one comparison came out."""

    AGREED = "agreed"
    DIFFERS = "differs"
    UNANSWERED = "unanswered"
    """EPAY could not be asked, or its answer says nothing: no difference, and no agreement."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict, and in words what differs or why there is no answer."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


_AGREED = Comparison(Verdict.AGREED)
_MOVED = Comparison(Verdict.UNANSWERED, ("the payout moved while EPAY was asked",))


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """The day (UTC) as a time at which it begins and one at which it is over."""
    begin = datetime.combine(day, time(), UTC)
    return begin, begin + timedelta(days=1)


def latest_day(now: datetime, after: timedelta) -> date:
    """The last day (UTC) that has been over for `after`."""
    return (now - after).astimezone(UTC).date() - timedelta(days=1)


def epay_answered(answer: OrderAnswer) -> bool:
    """Whether EPAY itself answered, whatever it said."""
    return isinstance(answer, Report | Refused)


def compare(
    payout: PayoutState, answer: OrderAnswer, *, asked_at: datetime, policy: Policy
) -> Comparison:
    """Hold the answer to a query that was begun at `asked_at` against the payout as it stands."""
    match answer:
        case NeverSent(reason) | OutcomeUnknown(reason):
            return Comparison(Verdict.UNANSWERED, (reason,))
        case Refused(code) if code in policy.not_found_codes:
            is_late, words = payout.updated_at > asked_at, list(_missed(payout, code))
        case Refused():
            said = redact_refusal(answer, payout.account_no)
            return Comparison(Verdict.UNANSWERED, (f"EPAY code {said.code}: {said.message}",))
        case Report():
            other = mismatches(payout, answer)
            is_late = payout.updated_at > asked_at and not other and not _is_end(answer)
            words = [*other, *_other_end(payout, answer)]
    if words and is_late:
        return _MOVED  # EPAY said it before the payout came to where it stands
    return Comparison(Verdict.DIFFERS, tuple(words)) if words else _AGREED


def transition_for(
    payout: PayoutState,
    answer: OrderAnswer,
    *,
    asked_at: datetime,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> Transition | None:
    """What the comparison changes. None: nothing.

    A difference of a final payout is one event, however often it is found, and a reason for review:
    that of the lifecycle where it has one, else `books`.
    """
    found = compare(payout, answer, asked_at=asked_at, policy=policy)
    is_final = payout.status in FINAL
    if not epay_answered(answer) or (is_final and found.verdict is not Verdict.DIFFERS):
        return None
    taken = reports.on_query_answer(
        payout, answer, asked_at=asked_at, now=now, policy=policy, jitter=jitter
    )
    if found.verdict is not Verdict.DIFFERS or not (is_final or payout.status is Status.QUEUED):
        return taken
    words = "; ".join(found.reasons)
    after = payout if taken is None else taken.after
    if not review.is_sticky(after):
        after = review.flag(after, review.BOOKS, words, now)
    made = make_transition(payout, after, kind=KIND, actor=KIND, now=now, detail={"differs": words})
    return replace(made, once=is_final)  # what can still be sent is flagged each time


def _is_end(report: Report) -> bool:
    return status_from_epay(report.status or "") in FINAL


def _ended_by_epay(payout: PayoutState) -> bool:
    """Whether the end is EPAY's own word; else a person gave it, or it was rejected."""
    return payout.status in FINAL and status_from_epay(payout.epay_status or "") is payout.status


def _missed(payout: PayoutState, code: str) -> Iterator[str]:
    """What to say of an order that EPAY told of once, and has no more."""
    if payout.status in _AT_EPAY or _ended_by_epay(payout):
        yield f"EPAY has no such order (code {code}), and it is {payout.status}"


def _other_end(payout: PayoutState, report: Report) -> Iterator[str]:
    """What EPAY shows of an order otherwise than a row that does not just move on."""
    if payout.status not in FINAL and payout.status is not Status.QUEUED:
        return
    said = status_from_epay(report.status or "")
    if report.status and said is not payout.status:
        yield f"EPAY says {said} (status {report.status}), and it is {payout.status}"
    if payout.status in FINAL:
        yield from _other_money(payout, report)


def _other_money(payout: PayoutState, report: Report) -> Iterator[str]:
    """Another fee, or another order of EPAY under the same number of ours."""
    ours, theirs = payout.fee, report.fee
    if theirs is not None and theirs != ours and (ours is not None or _ended_by_epay(payout)):
        yield f"fee {theirs:f} instead of {'none' if ours is None else f'{ours:f}'}"
    orders = payout.epay_order_no, report.epay_order_no
    if all(orders) and orders[0] != orders[1]:
        yield f"EPAY order {orders[1]} instead of {orders[0]}"
