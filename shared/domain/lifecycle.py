"""How money moves: the statuses, the moves between them, and what EPAY's word is worth.

Pure: no I/O, no clock, no randomness; the time and the jitter come in as arguments. Every function
takes a payout as it stands and answers with the `Step` to take.
`shared.storage.payout_store` takes it, by compare-and-set. Laws are those of docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.domain import absence_proof, backoff, review
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import PayoutState, Status, Transition, make_transition, replace
from shared.domain.redaction import redact_refusal
from shared.domain.report_match import mismatches
from shared.domain.transitions import (
    FINAL,
    STATUS_OF_EPAY_CODE,
    finish,
    status_from_epay,
    transition,
)

POLLED = frozenset({Status.UNKNOWN, Status.PROCESSING, Status.PENDING_WITHDRAWAL})
"""What EPAY is asked about."""

_EPAY_ABNORMAL = "11"


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide; see `shared.config.settings` for each."""

    lease: timedelta = timedelta(seconds=60)
    visibility_delay: timedelta = timedelta(seconds=600)
    resend_horizon: timedelta = timedelta(seconds=86_400)
    review_after: timedelta = timedelta(days=3)
    query_backoff: tuple[int, ...] = backoff.DEFAULT_QUERY_BACKOFF
    submit_backoff: tuple[int, ...] = backoff.DEFAULT_SUBMIT_BACKOFF
    not_found_codes: frozenset[str] = frozenset()
    refused_codes: frozenset[str] = frozenset()
    cap_per_payout: Mapping[str, Decimal] = field(default_factory=dict)
    cap_per_day: Mapping[str, Decimal] = field(default_factory=dict)


def accept(payout: PayoutState, *, claim_id: str, now: datetime, policy: Policy) -> Transition:
    """Take in a new payout and claim it for sending, in one step (law 1)."""
    claimed = _claim(payout, claim_id, now, policy)
    return _transition(
        None, claimed, kind="accepted", actor="asker", now=now, detail={"attempt": 1}
    )


def accept_queued(
    payout: PayoutState, *, now: datetime, due_at: datetime | None = None
) -> Transition:
    """Take in a new payout that is sent later, or by somebody else: queued, due at once or then."""
    queued = replace(payout, status=Status.QUEUED, due_at=due_at or now)
    return _transition(None, queued, kind="accepted", actor="asker", now=now, detail={})


def within_caps(payout: PayoutState, policy: Policy) -> bool:
    """Whether no cap can hold the payout, whatever else was sent."""
    single = policy.cap_per_payout.get(payout.currency)
    return payout.currency not in policy.cap_per_day and (single is None or payout.amount <= single)


def claim_for_submission(
    payout: PayoutState,
    *,
    claim_id: str,
    now: datetime,
    policy: Policy,
    sent_today: Decimal = Decimal(0),
) -> Transition | None:
    """Claim a queued payout for sending (law 1).

    None: it is not queued, nothing is to be sent. A step that leaves it queued: it may not be sent
    without a person, and looks again tomorrow.

    Args:
        sent_today: what was sent in the payout's currency in the last 24 hours.
    """
    if payout.status is not Status.QUEUED:
        return None
    held = _hold_if_not_sendable(payout, now, policy) or _hold_if_above_cap(
        payout, now, policy, sent_today
    )
    if held is not None:
        return held
    claimed = _claim(payout, claim_id, now, policy)
    detail = {"attempt": claimed.attempts}
    return _transition(payout, claimed, kind="submitting", actor="worker", now=now, detail=detail)


def defer(payout: PayoutState, *, until: datetime) -> Transition | None:
    """A brake is on: a queued payout looks again then. None: it is not queued."""
    if payout.status is not Status.QUEUED:
        return None
    return Transition(payout, replace(payout, due_at=until))


def on_outside_limit(payout: PayoutState, words: str, *, now: datetime) -> Transition | None:
    """EPAY's own limit excludes the amount: rejected, if nothing was ever sent. None: it was."""
    if payout.status is not Status.QUEUED or payout.first_sent_at is not None:
        return None
    after = finish(replace(payout, refusal=words), Status.REJECTED, now)
    detail = {"reason": words}
    return _transition(payout, after, kind="outside_limit", actor="worker", now=now, detail=detail)


def on_create_answer(
    payout: PayoutState,
    answer: OrderAnswer,
    *,
    claim_id: str,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> Transition:
    """What the end of a create request means (laws 2, 4, 6). `claim_id` is the sender's claim."""
    if isinstance(answer, Report):
        return _on_report(payout, answer, "create", now=now, policy=policy, jitter=jitter)
    ours = payout.claim_id == claim_id and payout.status is Status.SUBMITTING
    match answer:
        case NeverSent(reason):
            kind, detail = "never_sent", {"reason": reason}
            after = _requeue(payout, now, policy, jitter) if ours else payout
        case Refused(code, message):
            kind, detail = "create_refused", {"code": code, "message": message}
            after = _on_refusal(payout, answer, claim_id, now, policy, jitter)
        case OutcomeUnknown(reason):
            kind, detail = "outcome_unknown", {"reason": reason}
            after = _to_unknown(payout, now, policy, jitter) if ours else payout
    return _transition(payout, after, kind=kind, actor="worker", now=now, detail=detail)


def on_query_answer(
    payout: PayoutState,
    answer: OrderAnswer,
    *,
    asked_at: datetime,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> Transition | None:
    """What the answer to a query means (laws 3, 5 and 6). None: nothing at all changes.

    Args:
        asked_at: when the query was begun: its answer says nothing of what was sent later.
    """
    match answer:
        case Report():
            return _on_report(payout, answer, "query", now=now, policy=policy, jitter=jitter)
        case Refused():
            refused = redact_refusal(answer, payout.account_no)
            return _on_query_refused(payout, refused, asked_at, now, policy, jitter)
        case _:
            if payout.status in FINAL or not is_polled(payout):
                return None
            after = _schedule_next_query(payout, now, policy, jitter, counts=False)
            if review.same_reason(after, payout):
                return Transition(payout, replace(after, review_since=payout.review_since))
            return _transition(payout, after, kind="overdue", actor="query", now=now, detail={})


def on_callback(
    payout: PayoutState, report: Report, *, now: datetime, policy: Policy, jitter: float
) -> Transition:
    """What a callback with a good signature means (laws 5 and 6)."""
    return _on_report(payout, report, "callback", now=now, policy=policy, jitter=jitter)


def on_unverified_callback(
    payout: PayoutState, *, now: datetime, detail: dict[str, Any]
) -> Transition:
    """A callback whose signature does not hold: not believed, but a reason to ask EPAY soon."""
    after = payout
    if is_polled(payout) and payout.due_at is not None and payout.due_at > now:
        after = replace(payout, due_at=now)
    return _transition(
        payout, after, kind="callback_unverified", actor="anybody", now=now, detail=detail
    )


def on_lease_expired(payout: PayoutState, *, now: datetime) -> Transition | None:
    """The sender did not come back: what it sent is unknown (law 2). None: the lease holds."""
    if payout.status is not Status.SUBMITTING or payout.due_at is None or payout.due_at > now:
        return None
    after = replace(transition(payout, Status.UNKNOWN), due_at=now, queries=0)
    return _transition(payout, after, kind="lease_over", actor="sweep", now=now, detail={})


def on_conflict(payout: PayoutState, *, now: datetime, differing: list[str]) -> Transition:
    """Somebody asked for the same merchant_order_no with other fields: on record, nothing moves."""
    detail = {"differing": ", ".join(differing)}
    return _transition(payout, payout, kind="conflict", actor="asker", now=now, detail=detail)


def is_polled(payout: PayoutState) -> bool:
    """Whether EPAY is to be asked about the payout."""
    return payout.status in POLLED


def _hold_if_not_sendable(payout: PayoutState, now: datetime, policy: Policy) -> Transition | None:
    """Keep back what may not be sent any more: past the horizon, or EPAY told of another order."""
    due_tomorrow = replace(payout, due_at=now + backoff.DAILY)
    if review.is_sticky(payout) or review.awaits_release(payout):
        return Transition(payout, due_tomorrow)
    if payout.first_sent_at is None or now - payout.first_sent_at <= policy.resend_horizon:
        return None
    words = f"first sent {payout.first_sent_at:%F %T} UTC, too long ago to send again"
    return _hold(payout, review.RESEND_HORIZON, words, now)


def _hold_if_above_cap(
    payout: PayoutState, now: datetime, policy: Policy, sent_today: Decimal
) -> Transition | None:
    """Keep back a payout above our own caps, unless it was sent before or a person released it."""
    if payout.first_sent_at is not None or payout.released_at is not None:
        return None
    single = policy.cap_per_payout.get(payout.currency)
    if single is not None and payout.amount > single:
        words = f"the cap for one payout is {single} {payout.currency}"
        return _hold(payout, review.ABOVE_CAP, words, now)
    daily = policy.cap_per_day.get(payout.currency)
    if daily is not None and sent_today + payout.amount > daily:
        words = f"{sent_today} of {daily} {payout.currency} were sent in the last 24 hours"
        return _hold(payout, review.ABOVE_DAY_CAP, words, now)
    return None


def _hold(payout: PayoutState, code: str, words: str, now: datetime) -> Transition:
    due_tomorrow = replace(payout, due_at=now + backoff.DAILY)
    held = review.flag(due_tomorrow, code, words, now)
    if review.same_reason(held, payout):
        return Transition(payout, due_tomorrow)
    return _transition(payout, held, kind="held", actor="worker", now=now, detail={"reason": words})


def _transition(
    before: PayoutState | None,
    after: PayoutState,
    *,
    kind: str,
    actor: str,
    now: datetime,
    detail: dict[str, Any],
) -> Transition:
    """The step with its event; a reason for review that stands as it stood keeps its date."""
    if before is not None:
        after = review.keep_review_since(after, before)
    return make_transition(before, after, kind=kind, actor=actor, now=now, detail=detail)


def _claim(payout: PayoutState, claim_id: str, now: datetime, policy: Policy) -> PayoutState:
    return replace(
        transition(payout, Status.SUBMITTING),
        due_at=now + policy.lease,
        claim_id=claim_id,
        attempts=payout.attempts + 1,
        first_sent_at=payout.first_sent_at or now,
        last_sent_at=now,
        queries=0,
        absences=(),
        refusal=None,
    )


def _schedule_next_query(
    payout: PayoutState, now: datetime, policy: Policy, jitter: float, *, counts: bool
) -> PayoutState:
    """Set when to ask next; after `review_after` flag the payout and go on daily."""
    if now - (payout.first_sent_at or payout.created_at) >= policy.review_after:
        flagged = review.flag(payout, review.OVERDUE, f"no end since {payout.created_at:%F}", now)
        return replace(flagged, due_at=now + backoff.DAILY * (1 + backoff.JITTER_SHARE * jitter))
    due_at = now + backoff.delay_before(policy.query_backoff, payout.queries, jitter)
    return replace(payout, due_at=due_at, queries=payout.queries + counts)


def _to_unknown(payout: PayoutState, now: datetime, policy: Policy, jitter: float) -> PayoutState:
    return _schedule_next_query(
        transition(payout, Status.UNKNOWN), now, policy, jitter, counts=True
    )


def _requeue(payout: PayoutState, now: datetime, policy: Policy, jitter: float) -> PayoutState:
    """Nothing left for EPAY: the send did not happen, and does not count as the first."""
    never_sent_before = payout.first_sent_at == payout.last_sent_at
    pause = backoff.delay_before(policy.submit_backoff, payout.attempts - 1, jitter)
    after = replace(
        transition(payout, Status.QUEUED),
        due_at=now + pause,
        first_sent_at=None if never_sent_before else payout.first_sent_at,
    )
    if now - payout.created_at >= policy.review_after:
        after = review.flag(after, review.UNSENT, "EPAY could not be reached", now)
    return after


def _on_refusal(
    payout: PayoutState,
    refused: Refused,
    claim_id: str,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> PayoutState:
    """Law 4: a refusal is no proof, unless its code is definite and nothing was sent before."""
    words = f"EPAY code {refused.code}: {refused.message}"
    if payout.claim_id != claim_id or payout.status not in {Status.SUBMITTING, Status.UNKNOWN}:
        return payout
    after = replace(payout, refusal=words)
    first = payout.first_sent_at == payout.last_sent_at
    if payout.status is Status.SUBMITTING and first and refused.code in policy.refused_codes:
        return finish(after, Status.REJECTED, now)
    if payout.status is Status.SUBMITTING:
        after = _to_unknown(after, now, policy, jitter)
    if not policy.not_found_codes:
        after = review.flag(after, review.CREATE_REFUSED, words, now)
    return after


def _on_query_refused(
    payout: PayoutState,
    refused: Refused,
    asked_at: datetime,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> Transition | None:
    if payout.status in FINAL or not is_polled(payout):
        return None
    words = f"EPAY code {refused.code}: {refused.message}"
    detail = {"code": refused.code, "message": refused.message, "asked_at": asked_at.isoformat()}
    after = _schedule_next_query(payout, now, policy, jitter, counts=True)
    if refused.code in policy.not_found_codes:
        kind = "no_such_order"
        after = _on_absence(after, words, asked_at, now, policy)
    else:
        kind = "query_refused"
        sent_at = payout.last_sent_at
        if (
            payout.status is Status.UNKNOWN
            and sent_at
            and asked_at - sent_at >= policy.visibility_delay
        ):
            after = review.flag(after, review.QUERY_REFUSED, words, now)
    return _transition(payout, after, kind=kind, actor="query", now=now, detail=detail)


def _on_absence(
    payout: PayoutState, words: str, asked_at: datetime, now: datetime, policy: Policy
) -> PayoutState:
    """Law 3: EPAY says that it has no such order; three such answers, spread out, are a proof."""
    if payout.status is not Status.UNKNOWN:
        return review.flag(payout, review.VANISHED, words, now)
    last_sent_at = payout.last_sent_at
    if last_sent_at is None:
        return payout
    after = replace(
        payout,
        absences=absence_proof.record_absence(
            payout.absences,
            asked_at,
            last_sent_at=last_sent_at,
            visibility_delay=policy.visibility_delay,
        ),
    )
    proven = absence_proof.absence_is_proven(
        after.absences,
        asked_at,
        last_sent_at=last_sent_at,
        visibility_delay=policy.visibility_delay,
    )
    if not proven or review.is_sticky(after):
        return after  # sticky: EPAY told of another order under this number, a person decides
    if after.refusal is not None:
        return finish(after, Status.REJECTED, now)
    if now - (payout.first_sent_at or last_sent_at) > policy.resend_horizon:
        return review.flag(after, review.RESEND_HORIZON, words, now)
    return replace(review.clear_if_resolved(transition(after, Status.QUEUED)), due_at=now)


def _on_report(
    payout: PayoutState,
    report: Report,
    source: str,
    *,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> Transition:
    """Laws 5 and 6: what EPAY says of an order, whichever way it came."""
    detail = _report_detail(report)
    actor = {"create": "worker", "query": "query", "callback": "epay"}[source]
    differing = mismatches(payout, report)
    if differing:
        after = review.flag(payout, review.MISMATCH, f"{source} says {'; '.join(differing)}", now)
        detail["disagrees"] = "; ".join(differing)
        after = _reschedule(replace(after, absences=()), source, now, policy, jitter)
    elif payout.status in FINAL:
        after = _on_report_after_final(payout, report, source, now)
    else:
        after = _apply_report(payout, report, source, now, policy, jitter)
    step = _transition(payout, after, kind=f"{source}_report", actor=actor, now=now, detail=detail)
    said_before = source == "callback" and after == payout
    return Transition(step.before, step.after, step.event, once=said_before)


def _apply_report(
    payout: PayoutState,
    report: Report,
    source: str,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> PayoutState:
    status_code = report.status or ""
    told = replace(
        payout,
        epay_status=status_code,
        epay_order_no=report.epay_order_no or payout.epay_order_no,
        fee=payout.fee if report.fee is None else report.fee,
        refusal=None,
        absences=(),
    )
    status = status_from_epay(status_code)
    if status in FINAL:
        return finish(told, status, now)
    moved = review.clear_if_resolved(transition(told, status), ended=False)
    if status_code not in STATUS_OF_EPAY_CODE:
        words = f"EPAY status {status_code} is not documented"
        moved = review.flag(moved, review.UNDOCUMENTED_STATUS, words, now)
    elif status_code == _EPAY_ABNORMAL:
        moved = review.flag(moved, review.ABNORMAL, "EPAY status 11: order is abnormal", now)
    if source == "callback" and is_polled(payout):
        return moved  # a callback that is no end does not put off the next query
    if not is_polled(payout):
        moved = replace(moved, queries=0)
    return _schedule_next_query(moved, now, policy, jitter, counts=True)


def _on_report_after_final(
    payout: PayoutState, report: Report, source: str, now: datetime
) -> PayoutState:
    """Law 5: final is final; a report that says otherwise is for a person."""
    code = report.status or ""
    status = status_from_epay(code)
    stale = status not in FINAL and code in STATUS_OF_EPAY_CODE and code != _EPAY_ABNORMAL
    if status is payout.status or (stale and payout.status is not Status.REJECTED):
        return payout
    words = f"{source} says {status} (EPAY status {report.status}) after {payout.status}"
    return review.flag(payout, review.CONTRADICTION, words, now)


def _reschedule(
    payout: PayoutState, source: str, now: datetime, policy: Policy, jitter: float
) -> PayoutState:
    """A report that does not count moves nothing; but a request that it ended is over."""
    if source == "create" and payout.status is Status.SUBMITTING:
        return _to_unknown(payout, now, policy, jitter)
    if source == "query" and is_polled(payout):
        return _schedule_next_query(payout, now, policy, jitter, counts=True)
    return payout


def _report_detail(report: Report) -> dict[str, Any]:
    return {
        "epay_status": report.status,
        "epay_order_no": report.epay_order_no,
        "amount": None if report.amount is None else f"{report.amount:f}",
        "currency": report.currency,
        "fee": None if report.fee is None else f"{report.fee:f}",
    }
