"""Each law broken on purpose, one at a time: a simulation that does not notice is worth nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from ops.resolution import actions
from shared.domain import (
    absence_proof,
    holds,
    lifecycle,
    notifications,
    reports,
    review,
    scheduling,
    transitions,
)
from shared.domain.absence_proof import Control
from shared.domain.gateway import NeverSent, OutcomeUnknown, Refused
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.storage.outbox import QueueRefused
from tests.simulation import memory_store, rollback
from tests.simulation.memory_store import MemoryStore
from tests.simulation.rollback import SimDeployment
from worker.jobs import query as query_job
from worker.jobs import request as request_job
from worker.jobs import submission

Break = Callable[[], contextlib.AbstractContextManager[Any]]

_create = submission._create
_accept_row = MemoryStore.insert
_apply_refusal = lifecycle._apply_refusal
_write = MemoryStore._write
_insert = MemoryStore._insert_one
_record = reports.make_transition
_relay = MemoryStore.relay_outbox


def _effect_before_intent() -> contextlib.AbstractContextManager[Any]:
    """Law 1: the request leaves first, the row is written when its answer is in."""
    answers: dict[str, Any] = {}

    def send_first(ctx: Any, payout: PayoutState, claim_id: str, given: Any) -> Transition:
        if ctx.store.find(payout.epay_account, payout.merchant_order_no) is None:
            claimed = replace(payout, due_at=ctx.clock() + ctx.policy.lease)
            permit = ctx.send_guard.recover_permit(claimed)
            answers[payout.merchant_order_no] = _create(ctx, claimed, permit)
        return accept(ctx, payout, claim_id, given)

    def answered(ctx: Any, payout: PayoutState, permit: Any) -> Any:
        return answers.pop(payout.merchant_order_no, None) or _create(ctx, payout, permit)

    accept = request_job._accept
    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(request_job, "_accept", send_first))
    stack.enter_context(mock.patch.object(submission, "_create", answered))
    return stack


def _resend_after_read_timeout() -> contextlib.AbstractContextManager[Any]:
    """Law 2: silence is taken for proof that nothing arrived."""

    def create(ctx: Any, payout: PayoutState, permit: Any) -> Any:
        answer = _create(ctx, payout, permit)
        return NeverSent(answer.reason) if isinstance(answer, OutcomeUnknown) else answer

    return mock.patch.object(submission, "_create", create)


def _one_absence_is_enough() -> contextlib.AbstractContextManager[Any]:
    """Law 3: the first "no such order" is believed, however soon it comes."""
    return mock.patch.object(absence_proof, "absence_is_proven", lambda *_, **__: True)


def _no_settle_time() -> contextlib.AbstractContextManager[Any]:
    """Law 3: three answers count however close together, and the settle time is not waited for."""

    def noted(absences: tuple[str, ...], asked_at: datetime, **_: Any) -> tuple[str, ...]:
        return (*absences, asked_at.isoformat())

    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(absence_proof, "record_absence", noted))
    stack.enter_context(
        mock.patch.object(
            absence_proof,
            "absence_is_proven",
            lambda absences, *_, **__: len(absences) > 2,
        )
    )
    return stack


def _every_code_is_no_such_order() -> contextlib.AbstractContextManager[Any]:
    """Law 3: a query refused with any code counts as absence."""

    class AnyCode(frozenset[str]):
        def __contains__(self, _code: object) -> bool:
            return True

    def patched(
        payout: PayoutState, answer: Any, *, policy: Any, **kwargs: Any
    ) -> Transition | None:
        policy = replace(policy, not_found_codes=AnyCode({"x"}))
        return on_query_answer(payout, answer, policy=policy, **kwargs)

    on_query_answer = reports.on_query_answer
    return mock.patch.object(query_job.reports, "on_query_answer", patched)


def _refused_is_rejected() -> contextlib.AbstractContextManager[Any]:
    """Law 4: any refusal of a create is taken for the end."""

    def on_refusal(
        payout: PayoutState,
        refused: Refused,
        claim_id: str,
        now: datetime,
        policy: Any,
    ) -> PayoutState:
        codes = policy.refused_codes | {refused.code}
        policy = replace(policy, refused_codes=codes)
        return _apply_refusal(payout, refused, claim_id, now, policy)

    return mock.patch.object(lifecycle, "_apply_refusal", on_refusal)


def _the_end_is_overwritten() -> contextlib.AbstractContextManager[Any]:
    """Law 5: a later report replaces the end."""

    def after_the_end(payout: PayoutState, report: Any, _source: str, now: datetime) -> PayoutState:
        status = transitions.status_from_epay(report.status or "")
        if status not in transitions.FINAL:
            return payout
        return replace(payout, status=status, finished_at=now)

    return mock.patch.object(reports, "_on_report_after_final", after_the_end)


def _any_report_counts() -> contextlib.AbstractContextManager[Any]:
    """Law 6: amount, currency and account are not compared."""
    return mock.patch.object(reports, "mismatches", lambda *_: [])


def _a_second_order_counts() -> contextlib.AbstractContextManager[Any]:
    """Law 13: a report of another order of EPAY under our number gives its status."""

    def without_number(payout: PayoutState, report: Any) -> list[str]:
        return mismatches(payout, replace(report, epay_order_no=None))

    mismatches = reports.mismatches
    return mock.patch.object(reports, "mismatches", without_number)


def _a_second_order_is_told_to_nobody() -> contextlib.AbstractContextManager[Any]:
    """Law 13: a second order changes no status, and sets no reason."""

    def flag(payout: PayoutState, code: str, *args: Any) -> PayoutState:
        return payout if code == review.SECOND_ORDER else set_reason(payout, code, *args)

    set_reason = review.flag
    return mock.patch.object(review, "flag", flag)


def _a_conflict_has_a_sequence() -> contextlib.AbstractContextManager[Any]:
    """Law 14: the answer to a request that is a conflict carries the payout's sequence."""

    def with_sequence(payout: PayoutState, *args: Any) -> list[Any]:
        return [
            replace(message, kwargs=message.kwargs | {"sequence": payout.sequence})
            for message in messages_for_conflict(payout, *args)
        ]

    messages_for_conflict = notifications.messages_for_conflict
    return mock.patch.object(notifications, "messages_for_conflict", with_sequence)


def _no_event_for_ends() -> contextlib.AbstractContextManager[Any]:
    """Law 7: a callback's end is written without an event."""

    def record(before: PayoutState | None, after: PayoutState, **kwargs: Any) -> Transition:
        if kwargs["kind"] == "callback_report" and before is not None:
            return Transition(before, after)
        return _record(before, after, **kwargs)

    return mock.patch.object(reports, "make_transition", record)


def _no_compare_and_set() -> contextlib.AbstractContextManager[Any]:
    """Law 7: a step is taken whatever the row has become meanwhile."""

    def take(self: MemoryStore, step: Transition) -> PayoutState | None:
        self._write(step)
        return step.after

    return mock.patch.object(MemoryStore, "apply", take)


def _message_after_the_commit() -> contextlib.AbstractContextManager[Any]:
    """Law 8: the message is written after the commit, and some processes die in between."""
    written = [0]

    def write(self: MemoryStore, step: Transition) -> None:
        outbox = list(self.outbox)
        _write(self, step)
        written[0] += 1
        if written[0] % 7 == 0:
            self.outbox = outbox

    return mock.patch.object(MemoryStore, "_write", write)


def _messages_out_of_order() -> contextlib.AbstractContextManager[Any]:
    """Law 8: the newest message goes out first."""

    def relay(self: MemoryStore, *args: Any) -> int:
        self.outbox.reverse()
        try:
            return _relay(self, *args)
        finally:
            self.outbox.reverse()

    return mock.patch.object(MemoryStore, "relay_outbox", relay)


def _request_within_a_transaction() -> contextlib.AbstractContextManager[Any]:
    """Law 9: EPAY is asked while the row is locked."""

    def query(ctx: Any, payout_ids: Any, lease: datetime | None) -> int:
        def decide(payout: PayoutState) -> Transition | None:
            if not scheduling.is_polled(payout):
                return None
            answer = ctx.gateway.query(payout.merchant_order_no)
            return reports.on_query_answer(
                payout, answer, asked_at=ctx.clock(), now=ctx.clock(), policy=ctx.policy, jitter=0
            )

        del lease
        return len(ctx.store.update_many(payout_ids, decide))

    from tests.simulation import world

    return mock.patch.object(world, "query", query)


def _an_open_payout_is_not_due() -> contextlib.AbstractContextManager[Any]:
    """The clock: a payout whose outcome is unknown is due in a hundred years."""

    def mark_unknown(payout: PayoutState, now: datetime, *_: Any) -> PayoutState:
        moved = transitions.transition(payout, Status.UNKNOWN)
        return replace(moved, due_at=now + timedelta(days=36_500))

    return mock.patch.object(lifecycle, "mark_unknown", mark_unknown)


def _the_cap_forgets_the_day() -> contextlib.AbstractContextManager[Any]:
    """Our caps: what was sent before is not counted."""

    def forgetful(self: MemoryStore, payout: PayoutState, _since: Any, decide: Any) -> Any:
        return self.update(payout.id, decide)

    return mock.patch.object(MemoryStore, "update_within_cap", forgetful)


def _a_brake_after_the_claim_ends_it() -> contextlib.AbstractContextManager[Any]:
    """Our brakes: a payout that is put off is not due any more for a long time."""

    def put_off(payout: PayoutState, *, until: datetime) -> Transition | None:
        return Transition(payout, replace(payout, due_at=until + timedelta(days=36_500)))

    return mock.patch.object(lifecycle, "defer", put_off)


def _a_person_does_not_wait() -> contextlib.AbstractContextManager[Any]:
    """Law 3, by hand: what was sent a moment ago is sent again, since EPAY does not show it."""
    return mock.patch.object(actions, "_require_visibility_delay", lambda *_: None)


def _a_person_does_not_listen() -> contextlib.AbstractContextManager[Any]:
    """Law 3, by hand: EPAY shows the order, or gives no answer, and a person goes on."""
    return mock.patch.object(actions, "_require_no_order", lambda *_, **_options: None)


def _what_cannot_be_decrypted_is_sent() -> contextlib.AbstractContextManager[Any]:
    """Law 15: an account number that no key opens is taken for a number."""
    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(holds, "_hold_if_unreadable", lambda *_: None))
    stack.enter_context(mock.patch.object(submission, "UnreadableAccount", bytes))
    return stack


def _a_refused_queue_ends_the_round() -> contextlib.AbstractContextManager[Any]:
    """Law 15: what is behind a message that a queue refuses waits for it."""

    def relay(self: MemoryStore, publish: Any, now: datetime, limit: int, _refused: Any) -> int:
        def stop(message: Any) -> None:
            try:
                publish(message)
            except QueueRefused:
                raise StopIteration from None

        sent = sum(row.sent for row in self.outbox)
        with contextlib.suppress(StopIteration):
            _relay(self, stop, now, limit)
        return sum(row.sent for row in self.outbox) - sent

    return mock.patch.object(MemoryStore, "relay_outbox", relay)


def _age_is_judged_on_one_path() -> contextlib.AbstractContextManager[Any]:
    """Law 16: only a payout that is asked about is found to be old."""
    return mock.patch.object(scheduling, "on_overdue", lambda *_, **__: None)


def _absence_needs_no_control() -> contextlib.AbstractContextManager[Any]:
    """Law 12: "no such order" counts, whatever EPAY says about an order that it must know."""
    return mock.patch.object(query_job, "control_of", lambda *_: Control.PASSED)


def _a_person_needs_no_control() -> contextlib.AbstractContextManager[Any]:
    """Law 12, by hand: a person sends or rejects by a "no such order" that nothing confirms."""
    return mock.patch.object(actions, "_require_control", lambda *_: None)


def _no_witness() -> contextlib.AbstractContextManager[Any]:
    """Law 11: what Redis has and the database forgot is sent all the same."""
    return mock.patch.object(SimDeployment, "witness", lambda *_: None)


def _a_limit_rejects_unseen() -> contextlib.AbstractContextManager[Any]:
    """Law 11: EPAY's amount limit ends what Redis has and the database forgot."""
    return mock.patch.object(SimDeployment, "look", lambda *_: None)


def _no_asking_first() -> contextlib.AbstractContextManager[Any]:
    """Law 11: after the database was recovered, an order without a mark is sent."""

    def doubt(own: Any, found: Any, **given: Any) -> Any:
        return doubt_about(own, found, **given | {"asks_first": False})

    doubt_about = rollback.doubt_about
    return mock.patch.object(rollback, "doubt_about", doubt)


def _the_identity_is_not_compared() -> contextlib.AbstractContextManager[Any]:
    """Law 11: with the database back and Redis empty, sending goes on."""

    def go_back(self: SimDeployment, *, shows: bool) -> None:
        before = self.paused
        _go_back(self, shows=shows)
        self.paused = before

    _go_back = SimDeployment.go_back
    return mock.patch.object(SimDeployment, "go_back", go_back)


def _whoever_is_configured_sends() -> contextlib.AbstractContextManager[Any]:
    """Law 10: a payout is sent and asked about by the account that happens to be configured."""
    return mock.patch.object(Policy, "missing_account", lambda *_: None)


def _a_number_per_spelling() -> contextlib.AbstractContextManager[Any]:
    """Law 10: under another account, or another spelling of it, a number is a new payout."""

    def standing_for(wanted: PayoutState, same_number: Any) -> PayoutState | None:
        found = (one for one in same_number if one.epay_account == wanted.epay_account)
        return next(found, None)

    return mock.patch.object(memory_store, "standing_for", standing_for)


BREAKS: dict[str, Break] = {
    "1-effect-before-intent": _effect_before_intent,
    "2-resend-after-read-timeout": _resend_after_read_timeout,
    "3-one-absence-is-enough": _one_absence_is_enough,
    "3-no-settle-time": _no_settle_time,
    "3-every-code-is-no-such-order": _every_code_is_no_such_order,
    "4-refused-is-rejected": _refused_is_rejected,
    "5-the-end-is-overwritten": _the_end_is_overwritten,
    "6-any-report-counts": _any_report_counts,
    "7-no-event": _no_event_for_ends,
    "7-no-compare-and-set": _no_compare_and_set,
    "8-message-after-the-commit": _message_after_the_commit,
    "8-messages-out-of-order": _messages_out_of_order,
    "11-no-witness": _no_witness,
    "11-a-limit-rejects-unseen": _a_limit_rejects_unseen,
    "11-no-asking-first": _no_asking_first,
    "11-no-identity": _the_identity_is_not_compared,
    "9-request-within-a-transaction": _request_within_a_transaction,
    "15-what-cannot-be-decrypted-is-sent": _what_cannot_be_decrypted_is_sent,
    "15-a-refused-queue-ends-the-round": _a_refused_queue_ends_the_round,
    "16-age-is-judged-on-one-path": _age_is_judged_on_one_path,
    "12-absence-needs-no-control": _absence_needs_no_control,
    "12-person-needs-no-control": _a_person_needs_no_control,
    "10-whoever-is-configured-sends": _whoever_is_configured_sends,
    "10-a-number-per-spelling": _a_number_per_spelling,
    "clock-open-and-not-due": _an_open_payout_is_not_due,
    "clock-put-off-for-ever": _a_brake_after_the_claim_ends_it,
    "person-does-not-wait": _a_person_does_not_wait,
    "person-does-not-listen": _a_person_does_not_listen,
    "13-a-second-order-counts": _a_second_order_counts,
    "13-a-second-order-is-not-told": _a_second_order_is_told_to_nobody,
    "14-a-conflict-has-a-sequence": _a_conflict_has_a_sequence,
    "caps-forget-the-day": _the_cap_forgets_the_day,
}


@contextlib.contextmanager
def broken(law: str | None) -> Iterator[None]:
    """Break the named law for a while; None breaks none."""
    if law is None:
        yield
        return
    with BREAKS[law]():
        yield
