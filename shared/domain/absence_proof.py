"""When EPAY's "no such order" proves that an order does not exist (laws 3 and 12). Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.gateway import OrderAnswer, Refused, Report
from shared.domain.payout import PayoutState
from shared.domain.redaction import redact_refusal
from shared.domain.report_match import mismatches, names_second_order

ANSWERS_NEEDED = 3


class Control(StrEnum):
    """How EPAY answered, in the same wave, about an order that it must know (law 12)."""

    PASSED = "passed"
    """It showed that order: its "no such order" about another one counts."""
    REFUSED = "refused"
    """It refused, or showed another order: what it refuses in this wave is about us."""
    UNANSWERED = "unanswered"
    """No answer came, or one about a second order (law 13): the wave proves nothing."""
    MISSING = "missing"
    """There is no order yet that EPAY must know: absence proves nothing."""


def judge_control(known: PayoutState | None, answer: OrderAnswer | None) -> Control:
    """What EPAY's answer about `known`, an order that it must know, is worth (law 12)."""
    if known is None:
        return Control.MISSING
    match answer:
        case Report() if not mismatches(known, answer):
            return Control.PASSED
        case Report() if names_second_order(known, answer):
            return Control.UNANSWERED  # EPAY knows our account and number: it is not about us
        case Report() | Refused():
            return Control.REFUSED
        case _:
            return Control.UNANSWERED


def describe_refusal(known: PayoutState, answer: Report | Refused) -> str:
    """Why a control was refused, in words for people."""
    if isinstance(answer, Refused):
        refused = redact_refusal(answer, known.account_no)
        return f"EPAY refuses {known.merchant_order_no}, an order that it must know: {refused}"
    conflicts = "; ".join(mismatches(known, answer))
    return f"EPAY shows another order under {known.merchant_order_no}: {conflicts}"


def record_absence(
    absences: tuple[str, ...],
    asked_at: datetime,
    *,
    last_sent_at: datetime,
    visibility_delay: timedelta,
) -> tuple[str, ...]:
    """The counted absences (ISO times of the queries), this one added if it counts.

    The answers must be spread over the visibility delay: one counts only if it was asked after the
    last send, and at least half of the delay after the one before.
    """
    if asked_at <= last_sent_at:
        return absences
    if absences and asked_at - datetime.fromisoformat(absences[-1]) < visibility_delay / 2:
        return absences
    return (*absences, asked_at.isoformat())


def next_useful_query(
    absences: tuple[str, ...], *, last_sent_at: datetime, visibility_delay: timedelta
) -> datetime | None:
    """The first moment at which "no such order" counts next, so that the proof ends in time.

    Without a counted absence: the end of the visibility delay. None: no more are needed.
    """
    end = last_sent_at + visibility_delay
    if not absences:
        return end
    if len(absences) >= ANSWERS_NEEDED:
        return None
    spaced = datetime.fromisoformat(absences[-1]) + visibility_delay / 2
    return spaced if len(absences) < ANSWERS_NEEDED - 1 else max(spaced, end)


def absence_is_proven(
    absences: tuple[str, ...],
    asked_at: datetime,
    *,
    last_sent_at: datetime,
    visibility_delay: timedelta,
) -> bool:
    """Whether enough absences are counted and the visibility delay since the last send is over."""
    return len(absences) >= ANSWERS_NEEDED and asked_at - last_sent_at >= visibility_delay
