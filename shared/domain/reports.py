"""What EPAY says of an order: create reports, query answers, callbacks (laws 3, 5, 6, 13). Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from shared.domain import review
from shared.domain.absence_proof import Control
from shared.domain.gateway import OrderAnswer, Refused, Report
from shared.domain.holds import hold_if_not_configured
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.redaction import redact_refusal
from shared.domain.report_match import mismatches, names_second_order
from shared.domain.scheduling import (
    is_polled,
    mark_unknown,
    schedule_next_query,
)
from shared.domain.transitions import (
    FINAL,
    STATUS_OF_EPAY_CODE,
    finish,
    make_transition,
    status_from_epay,
    transition,
)
from shared.domain.unresolved import flag_unresolved, on_query_refused

_EPAY_ABNORMAL = "11"
_ACTORS = {"create": "worker", "query": "query", "callback": "epay"}


def on_query_answer(
    payout: PayoutState,
    answer: OrderAnswer,
    *,
    asked_at: datetime,
    now: datetime,
    policy: Policy,
    jitter: float,
    control: Control = Control.MISSING,
) -> Transition | None:
    """Apply the answer to a query (laws 3, 5, 6 and 12). None: nothing changes.

    Args:
        asked_at: when the query began; its answer does not cover what was sent later.
        control: how the control of the same wave came out; without one no absence counts.
    """
    if policy.missing_account(payout):  # whoever answered, it was not this payout's account
        return hold_if_not_configured(payout, now=now, policy=policy)
    if isinstance(answer, Report):
        return record_report(payout, answer, "query", now=now, policy=policy, jitter=jitter)
    if not is_polled(payout):
        return None
    if isinstance(answer, Refused):
        refused = redact_refusal(answer, payout.account_no)
        return on_query_refused(payout, refused, control, asked_at, now, policy, jitter)
    configured = review.clear_code(payout, review.ACCOUNT_NOT_CONFIGURED)
    after = schedule_next_query(configured, now, policy, jitter)
    after = flag_unresolved(
        after, answer, control=control, asked_at=asked_at, now=now, policy=policy
    )
    if review.same_reason(after, payout):
        return Transition(payout, after)
    kind = review.code_of(after.review_reason) if after.review_reason else "account_configured"
    return make_transition(payout, after, kind=kind, actor="query", now=now, detail={})


def on_callback(
    payout: PayoutState, report: Report, *, now: datetime, policy: Policy, jitter: float
) -> Transition:
    """Apply a callback with a valid signature (laws 5 and 6)."""
    return record_report(payout, report, "callback", now=now, policy=policy, jitter=jitter)


def on_unverified_callback(
    payout: PayoutState, *, now: datetime, detail: dict[str, Any]
) -> Transition:
    """Record a callback with an invalid signature; it only brings the next query forward."""
    after = payout
    if is_polled(payout) and payout.due_at is not None and payout.due_at > now:
        after = replace(payout, due_at=now)
    return make_transition(
        payout, after, kind="callback_unverified", actor="anybody", now=now, detail=detail
    )


def record_report(
    payout: PayoutState,
    report: Report,
    source: str,
    *,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> Transition:
    """Apply a report and record it as an event (laws 5, 6, 7 and 13).

    Args:
        source: `create`, `query` or `callback`. A repeated callback is recorded once.
    """
    detail = _report_detail(report)
    conflicts = mismatches(payout, report)
    if conflicts:
        message = "; ".join(conflicts)
        flagged = _flag_conflict(payout, report, f"{source} says {message}", now)
        detail["disagrees"] = message
        after = _end_request(replace(flagged, absences=()), source, now, policy, jitter)
    elif missing := policy.missing_account(payout):
        detail["disagrees"] = missing
        after = payout
        if payout.status not in FINAL:
            after = review.flag(payout, review.ACCOUNT_NOT_CONFIGURED, missing, now)
    elif payout.status in FINAL:
        after = _on_report_after_final(payout, report, source, now)
    else:
        after = _apply_report(payout, report, source, now, policy, jitter)
    recorded = make_transition(
        payout, after, kind=f"{source}_report", actor=_ACTORS[source], now=now, detail=detail
    )
    return replace(recorded, skip_if_already_recorded=source == "callback" and after == payout)


def _flag_conflict(payout: PayoutState, report: Report, message: str, now: datetime) -> PayoutState:
    if names_second_order(payout, report):
        return review.flag(payout, review.SECOND_ORDER, message, now)
    return review.flag(payout, review.MISMATCH, message, now)


def _apply_report(
    payout: PayoutState,
    report: Report,
    source: str,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> PayoutState:
    """Law 6: the report is about this payout, so its status is taken over."""
    code = report.status or ""
    reported = replace(
        payout,
        epay_status=code,
        epay_order_no=report.epay_order_no or payout.epay_order_no,
        fee=payout.fee if report.fee is None else report.fee,
        refusal=None,
        absences=(),
    )
    status = status_from_epay(code)
    if status in FINAL:
        return finish(reported, status, now)
    after = review.clear_if_resolved(transition(reported, status), ended=False)
    if code not in STATUS_OF_EPAY_CODE:
        message = f"EPAY status {code} is not documented"
        after = review.flag(after, review.UNDOCUMENTED_STATUS, message, now)
    elif code == _EPAY_ABNORMAL:
        after = review.flag(after, review.ABNORMAL, "EPAY status 11: order is abnormal", now)
    if source == "callback" and is_polled(payout):
        return after  # a callback that is not final does not postpone the next query
    if not is_polled(payout):
        after = replace(after, queries=0)
    return schedule_next_query(after, now, policy, jitter)


def _on_report_after_final(
    payout: PayoutState, report: Report, source: str, now: datetime
) -> PayoutState:
    """Law 5: the status stays; a report that contradicts it needs a person.

    EPAY may name its order number only now; from then on another number is a second order.
    """
    payout = replace(payout, epay_order_no=payout.epay_order_no or report.epay_order_no)
    code = report.status or ""
    status = status_from_epay(report.status)
    is_older_status = status not in FINAL and code in STATUS_OF_EPAY_CODE and code != _EPAY_ABNORMAL
    if status is payout.status or (is_older_status and payout.status is not Status.REJECTED):
        return payout
    message = f"{source} says {status} (EPAY status {report.status}) after {payout.status}"
    return review.flag(payout, review.CONTRADICTION, message, now)


def _end_request(
    payout: PayoutState, source: str, now: datetime, policy: Policy, jitter: float
) -> PayoutState:
    """Law 6: a report about another order changes no status, but the request it answers is over."""
    if source == "create" and payout.status is Status.SUBMITTING:
        return mark_unknown(payout, now, policy, jitter)
    if source == "query" and is_polled(payout):
        return schedule_next_query(payout, now, policy, jitter)
    return payout


def _report_detail(report: Report) -> dict[str, Any]:
    return {
        "epay_status": report.status,
        "epay_order_no": report.epay_order_no,
        "amount": None if report.amount is None else f"{report.amount:f}",
        "currency": report.currency,
        "fee": None if report.fee is None else f"{report.fee:f}",
    }
