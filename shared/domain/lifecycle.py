"""How a payout changes, from acceptance to the answer of its create request. Start reading here.

Each function takes a payout as it stands and returns the `Transition` to apply; None means that
nothing changes. `shared.storage.payout_store` applies it by compare-and-set. Pure: no I/O, no
clock, no randomness; the time and the jitter are arguments. The laws are in docs/architecture.md,
the statuses in docs/lifecycle.md. The rest of the lifecycle is in the modules beside this one:

- `reports`: what EPAY says about an order (create reports, query answers, callbacks, absence);
- `scheduling`: when EPAY is queried next, and when an unsent payout is sent again;
- `holds`: what keeps a queued payout from being sent;
- `policy`: the settings that decide;
- `transitions`: the statuses, the allowed moves and `make_transition`;
- `review`: why a person must look at a payout;
- `payout`: `PayoutState`, `Transition` and the journal event.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from shared.domain import holds, review
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.reports import record_report
from shared.domain.scheduling import (
    mark_unknown,
    requeue_unsent,
)
from shared.domain.transitions import finish, make_transition, transition
from shared.domain.witness import Doubt


def accept(payout: PayoutState, *, claim_id: str, now: datetime, policy: Policy) -> Transition:
    """Accept a new payout and claim it for sending, in one transition (law 1)."""
    claimed = _claim(payout, claim_id, now, policy)
    return make_transition(
        None, claimed, kind="accepted", actor="asker", now=now, detail={"attempt": 1}
    )


def accept_queued(
    payout: PayoutState, *, now: datetime, due_at: datetime | None = None
) -> Transition:
    """Accept a new payout without claiming it: queued, due at `due_at` or at once."""
    queued = replace(payout, status=Status.QUEUED, due_at=due_at or now)
    return make_transition(None, queued, kind="accepted", actor="asker", now=now, detail={})


def claim_for_submission(
    payout: PayoutState,
    *,
    claim_id: str,
    now: datetime,
    policy: Policy,
    sent_today: Decimal = Decimal(0),
) -> Transition | None:
    """Claim a queued payout for sending (law 1).

    Args:
        sent_today: the sum sent in the payout's currency in the last 24 hours.

    Returns:
        None if the payout is not queued. A transition that leaves it queued if a person must act
        before it is sent; it is due again tomorrow.
    """
    if payout.status is not Status.QUEUED:
        return None
    held = holds.find_hold(payout, now=now, policy=policy, sent_today=sent_today)
    if held is not None:
        return held
    claimed = _claim(payout, claim_id, now, policy)
    detail = {"attempt": claimed.attempts}
    return make_transition(
        payout, claimed, kind="submitting", actor="worker", now=now, detail=detail
    )


def defer(payout: PayoutState, *, until: datetime) -> Transition | None:
    """Postpone a queued payout that the send guard does not let pass. None: it is not queued."""
    if payout.status is not Status.QUEUED:
        return None
    return Transition(payout, replace(payout, due_at=until))


def on_outside_limit(payout: PayoutState, reason: str, *, now: datetime) -> Transition | None:
    """Reject a payout whose amount EPAY's own limit excludes. None: it may have been sent."""
    if payout.status is not Status.QUEUED or payout.first_sent_at is not None:
        return None
    after = finish(replace(payout, refusal=reason), Status.REJECTED, now)
    return make_transition(
        payout, after, kind="outside_limit", actor="worker", now=now, detail={"reason": reason}
    )


def on_create_answer(
    payout: PayoutState,
    answer: OrderAnswer,
    *,
    claim_id: str,
    now: datetime,
    policy: Policy,
    jitter: float,
) -> Transition:
    """Apply the result of a create request (laws 2, 4, 6).

    Args:
        claim_id: the claim under which the request was sent; a payout that has another claim by
            now changes its status only by a report.
    """
    if isinstance(answer, Report):
        return record_report(payout, answer, "create", now=now, policy=policy, jitter=jitter)
    is_ours = payout.claim_id == claim_id and payout.status is Status.SUBMITTING
    match answer:
        case NeverSent(reason):
            kind, detail = "never_sent", {"reason": reason}
            after = requeue_unsent(payout, now, policy, jitter) if is_ours else payout
        case Refused(code, message):
            kind, detail = "create_refused", {"code": code, "message": message}
            after = _apply_refusal(payout, answer, claim_id, now, policy)
        case OutcomeUnknown(reason):
            kind, detail = "outcome_unknown", {"reason": reason}
            after = mark_unknown(payout, now, policy, jitter) if is_ours else payout
    return make_transition(payout, after, kind=kind, actor="worker", now=now, detail=detail)


def on_doubt(
    payout: PayoutState, doubt: Doubt, *, claim_id: str, now: datetime
) -> Transition | None:
    """The claimed payout may have been sent before: it is asked about at once, not sent (law 11).

    None: the payout has another claim by now.
    """
    if payout.claim_id != claim_id or payout.status is not Status.SUBMITTING:
        return None
    first = min(payout.first_sent_at or now, doubt.first_sent_at or now)
    unknown = replace(transition(payout, Status.UNKNOWN), due_at=now, first_sent_at=first)
    return make_transition(
        payout, unknown, kind=doubt.kind, actor="worker", now=now, detail={"reason": doubt.reason}
    )


def on_lease_expired(payout: PayoutState, *, now: datetime) -> Transition | None:
    """The sender did not record an answer in time: the outcome is unknown (law 2).

    None: the payout is not being sent, or its lease has not expired.
    """
    if payout.status is not Status.SUBMITTING or payout.due_at is None or payout.due_at > now:
        return None
    after = replace(transition(payout, Status.UNKNOWN), due_at=now, queries=0)
    return make_transition(payout, after, kind="lease_over", actor="sweep", now=now, detail={})


def adopt_gateway(payout: PayoutState, *, now: datetime, policy: Policy) -> Transition | None:
    """Record the gateway of a payout that was accepted before gateways were recorded (law 10).

    None: it has one, or its account is not configured here at exactly one gateway.
    """
    after = _with_gateway(payout, policy)
    if after.epay_gateway == payout.epay_gateway:
        return None
    detail = {"epay_gateway": after.epay_gateway}
    return make_transition(
        payout, after, kind="gateway_adopted", actor="worker", now=now, detail=detail
    )


def on_conflict(payout: PayoutState, *, now: datetime, conflicting: list[str]) -> Transition:
    """Record a request for the same merchant_order_no with other fields; the payout stays."""
    detail = {"differing": ", ".join(conflicting)}
    return make_transition(payout, payout, kind="conflict", actor="asker", now=now, detail=detail)


def _claim(payout: PayoutState, claim_id: str, now: datetime, policy: Policy) -> PayoutState:
    configured = review.clear_code(_with_gateway(payout, policy), review.ACCOUNT_NOT_CONFIGURED)
    return replace(
        transition(configured, Status.SUBMITTING),
        due_at=now + policy.lease,
        claim_id=claim_id,
        attempts=payout.attempts + 1,
        first_sent_at=payout.first_sent_at or now,
        last_sent_at=now,
        queries=0,
        absences=(),
        refusal=None,
    )


def _with_gateway(payout: PayoutState, policy: Policy) -> PayoutState:
    if payout.epay_gateway is not None or policy.accounts is None:
        return payout
    found = policy.accounts.find(payout.epay_account, None)
    return payout if found is None else replace(payout, epay_gateway=found.gateway)


def _apply_refusal(
    payout: PayoutState,
    refused: Refused,
    claim_id: str,
    now: datetime,
    policy: Policy,
) -> PayoutState:
    """Law 4: a refusal proves nothing, unless its code is definite and nothing was sent before."""
    if payout.claim_id != claim_id or payout.status not in {Status.SUBMITTING, Status.UNKNOWN}:
        return payout
    after = replace(payout, refusal=str(refused))
    if payout.status is Status.SUBMITTING:
        is_first_send = payout.first_sent_at == payout.last_sent_at
        is_definite = refused.code in policy.refused_codes - policy.duplicate_codes
        if is_first_send and is_definite:
            return finish(after, Status.REJECTED, now)
        # asked about at once: whether the refusal is about us shows by the control (law 12)
        after = replace(transition(after, Status.UNKNOWN), due_at=now)
    if not policy.not_found_codes:
        after = review.flag(after, review.CREATE_REFUSED, str(refused), now)
    return after
