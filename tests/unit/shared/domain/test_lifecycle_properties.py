"""Random lives of a payout: answers, callbacks, lapses and queries in any order, at any time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.domain import lifecycle, notifications, reports, review, transitions
from shared.domain.absence_proof import Control
from shared.domain.gateway import NeverSent, OrderAnswer, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.transitions import FINAL, TRANSITIONS
from tests.support.factories import ABSENT, DEFINITE, LOST, T0, VAGUE, make_payout, make_report
from tests.support.journal import assert_chained

REVIEW_CODES = {
    value for name, value in vars(review).items() if name.isupper() and isinstance(value, str)
}
KEPT_BY_AN_END = ("status", "due_at", "finished_at", "epay_status", "fee")
NEVER_CHANGED = (
    "id",
    "epay_account",
    "merchant_order_no",
    "amount",
    "currency",
    "channel_code",
    "account_no",
    "remark",
    "extend_fields",
    "notify",
    "nonce",
    "created_at",
)
WITHOUT_EVENT = {"due_at", "queries", "review_reason", "review_since"}

CODES = st.sampled_from(["0", "1", "9", "11", "19", "2", "5", "6", "7", "8", "20"])
ON_THE_WAY = st.sampled_from(["1", "9", "11", "19", "2"])
OTHER: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {},
        {"fee": Decimal(9)},
        {"amount": Decimal("9.99")},
        {"currency": None},
        {"epay_account": "x"},
        {"epay_order_no": None},
        {"epay_order_no": "E-10"},
    ]
)
FAILURES: st.SearchStrategy[OrderAnswer] = st.sampled_from(
    [LOST, NeverSent("connection refused"), VAGUE, DEFINITE, ABSENT]
)
SECONDS = st.one_of(
    st.sampled_from([0, 1, 29, 60, 61, 299, 300, 301, 600, 3600, 90_000, 300_000]),
    st.integers(0, 2000),
)
JITTER = st.floats(-1, 1)
PAUSES = [0.01, 0.3, 0.499, 0.5, 0.6, 1.0]


@dataclass
class Send:
    """One claim for sending, as the outside world knows it."""

    claim_id: str
    at: datetime
    may_have_left: bool = True


class Life(RuleBasedStateMachine):
    """One payout, driven by everything that can happen to it."""

    payout: PayoutState
    policy: Policy

    @initialize(
        codes=st.booleans(),
        settle=st.sampled_from([1, 600, 7200]),
        horizon=st.sampled_from([60, 1800, 86_400]),
        moments=st.sampled_from([["accepted"], ["final"], ["accepted", "final"]]),
        at_once=st.booleans(),
        silent=st.booleans(),
    )
    def begin(
        self,
        *,
        codes: bool,
        settle: int,
        horizon: int,
        moments: list[str],
        at_once: bool,
        silent: bool,
    ) -> None:
        """Take a payout in, claimed or queued, under some policy; EPAY may know nothing of it."""
        self.silent = silent
        self.policy = Policy(
            visibility_delay=timedelta(seconds=settle),
            resend_horizon=timedelta(seconds=horizon),
            not_found_codes=frozenset({"404"} if codes or silent else ()),
            refused_codes=frozenset({"422"} if codes else ()),
        )
        self.now = T0
        self.steps: list[Transition] = []
        self.sends: list[Send] = []
        self.questions: list[datetime] = []
        self.absences: list[datetime] = []
        asked = make_payout(notify={"task": "t", "queue": "q", "on": moments})
        if at_once:
            self.sends.append(Send("c0", self.now))
            step = lifecycle.accept(asked, claim_id="c0", now=self.now, policy=self.policy)
        else:
            step = lifecycle.accept_queued(asked, now=self.now)
        self.steps.append(step)
        self.payout = step.after

    # what happens

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        """The clock goes on."""
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.payout.due_at is not None)
    @rule()
    def time_passes_until_due(self) -> None:
        """The clock goes on to where somebody must look."""
        assert self.payout.due_at is not None
        self.now = max(self.now, self.payout.due_at)

    @rule()
    def hint_to_send(self) -> None:
        """A message to send comes, wanted or not."""
        claim_id = f"c{len(self.sends)}"
        was = self.payout.status
        step = lifecycle.claim_for_submission(
            self.payout, claim_id=claim_id, now=self.now, policy=self.policy
        )
        if was is not Status.QUEUED:
            assert step is None
        if step is not None and step.after.status is Status.SUBMITTING:
            self.sends.append(Send(claim_id, self.now))
            self.absences.clear()
        self.take(step)

    @precondition(lambda self: self.sends)
    @rule(answer=FAILURES, jitter=JITTER, late=st.integers(0, 3))
    def create_fails(self, answer: OrderAnswer, jitter: float, late: int) -> None:
        """A sender comes back without a report; the current one or, rarely, an older one."""
        send = self.sends[-2 if late == 0 and len(self.sends) > 1 else -1]
        current = self.payout.status is Status.SUBMITTING and send is self.sends[-1]
        if isinstance(answer, NeverSent) and current:
            send.may_have_left = False
        self.create_ends(send.claim_id, answer, jitter)
        if isinstance(answer, NeverSent) and current:
            assert self.payout.status is Status.QUEUED

    @precondition(lambda self: self.sends and not self.silent)
    @rule(code=CODES, other=OTHER, jitter=JITTER)
    def create_reports(self, code: str, other: dict[str, Any], jitter: float) -> None:
        """A sender comes back with EPAY's order."""
        self.create_ends(self.sends[-1].claim_id, make_report(code, "create", **other), jitter)

    def create_ends(self, claim_id: str, answer: OrderAnswer, jitter: float) -> None:
        """A create request is over."""
        before = self.payout
        self.take(
            lifecycle.on_create_answer(
                before,
                answer,
                claim_id=claim_id,
                now=self.now,
                policy=self.policy,
                jitter=jitter,
            )
        )
        self.heard(before, answer)

    @rule()
    def ask(self) -> None:
        """A query is begun."""
        self.questions.append(self.now)

    @precondition(lambda self: self.questions)
    @rule(
        answer=st.one_of(FAILURES, FAILURES, st.builds(make_report, ON_THE_WAY)),
        jitter=JITTER,
        which=st.integers(0, 5),
    )
    def answer_comes(self, answer: OrderAnswer, jitter: float, which: int) -> None:
        """One of the queries under way is answered, not always the oldest."""
        if self.silent and isinstance(answer, Report):
            answer = ABSENT
        self.query_ends(self.questions.pop(which % len(self.questions)), answer, jitter)

    @precondition(lambda self: self.payout.status is Status.UNKNOWN)
    @rule(jitter=JITTER, pauses=st.lists(st.sampled_from(PAUSES), min_size=1, max_size=4))
    def epay_knows_no_such_order(self, jitter: float, pauses: list[float]) -> None:
        """Law 3's answer, some times over, the pauses in settle times: the way to a second send."""
        for pause in pauses:
            self.now += pause * self.policy.visibility_delay
            if self.payout.status is Status.UNKNOWN:
                self.query_ends(self.now, ABSENT, jitter)

    @precondition(lambda self: self.payout.status is Status.SUBMITTING)
    @rule(dies=st.booleans(), jitter=JITTER)
    def the_send_is_lost(self, dies: bool, jitter: float) -> None:
        """No answer that can be trusted, or no sender any more."""
        if dies:
            assert self.payout.due_at is not None
            self.now = max(self.now, self.payout.due_at)
            self.sweep_finds_the_lease_over()
        else:
            self.create_ends(self.sends[-1].claim_id, LOST, jitter)
        assert self.payout.status is Status.UNKNOWN

    @precondition(lambda self: not self.silent)
    @rule(code=CODES, other=OTHER, jitter=JITTER)
    def epay_reports(self, code: str, other: dict[str, Any], jitter: float) -> None:
        """A query asked and answered at once."""
        self.query_ends(self.now, make_report(code, **other), jitter)

    def query_ends(self, asked_at: datetime, answer: OrderAnswer, jitter: float) -> None:
        """A query is over."""
        before = self.payout
        if answer is ABSENT and before.status is Status.UNKNOWN:
            self.absences.append(asked_at)
        self.take(
            reports.on_query_answer(
                before,
                answer,
                asked_at=asked_at,
                now=self.now,
                policy=self.policy,
                jitter=jitter,
                control=Control.PASSED,
            )
        )
        self.heard(before, answer)

    @precondition(lambda self: not self.silent)
    @rule(code=CODES, other=OTHER, jitter=JITTER)
    def callback_comes(self, code: str, other: dict[str, Any], jitter: float) -> None:
        """EPAY calls back."""
        before, said = self.payout, make_report(code, "callback", **other)
        self.take(
            reports.on_callback(before, said, now=self.now, policy=self.policy, jitter=jitter)
        )
        self.heard(before, said)

    @rule()
    def forged_callback_comes(self) -> None:
        """Somebody calls back."""
        was = self.payout
        self.take(reports.on_unverified_callback(was, now=self.now, detail={"status": "7"}))
        assert self.payout.status is was.status
        assert self.payout.review_reason == was.review_reason

    @rule()
    def sweep_finds_the_lease_over(self) -> None:
        """The clock looks at the lease."""
        self.take(lifecycle.on_lease_expired(self.payout, now=self.now))

    @rule()
    def somebody_asks_for_another(self) -> None:
        """The same number with other fields."""
        self.take(lifecycle.on_conflict(self.payout, now=self.now, conflicting=["amount"]))

    # what must hold

    def heard(self, before: PayoutState, answer: OrderAnswer) -> None:
        """Laws 5 and 6: what a report may do, and no other answer."""
        after = self.payout
        if not isinstance(answer, Report):
            assert after.epay_status == before.epay_status
            return
        agrees = (answer.epay_account, answer.amount, answer.currency) == (
            "shop@example.com",
            Decimal("10.00"),
            "USD",
        ) and (
            None in {before.epay_order_no, answer.epay_order_no}
            or answer.epay_order_no == before.epay_order_no
        )
        if not agrees:
            moved = (before.status, after.status)
            assert after.epay_status == before.epay_status
            assert after.review_reason is not None
            assert moved == (Status.SUBMITTING, Status.UNKNOWN) or len(set(moved)) == 1
        elif before.status not in FINAL:
            assert after.status is transitions.status_from_epay(answer.status or "")

    def take(self, step: Transition | None) -> None:
        """Take a step, having looked at it from all sides."""
        if step is None:
            return
        before, after = self.payout, step.after
        assert step.before is before
        for name in NEVER_CHANGED:
            assert getattr(before, name) == getattr(after, name), name
        assert before.epay_order_no in {None, after.epay_order_no}
        assert after.status is before.status or after.status in TRANSITIONS[before.status]
        if before.status in FINAL:
            for name in KEPT_BY_AN_END:
                assert getattr(before, name) == getattr(after, name), name
        if step.event is None:
            for field in fields(PayoutState):
                if field.name not in WITHOUT_EVENT:
                    assert getattr(before, field.name) == getattr(after, field.name), field.name
        else:
            assert after.sequence == before.sequence + 1
        if (before.status, after.status) == (Status.UNKNOWN, Status.QUEUED):
            self.sent_again_only_on_proof(step)
        if after.status is Status.SUBMITTING and before.status is not Status.SUBMITTING:
            assert before.status is Status.QUEUED
            assert after.due_at == self.now + self.policy.lease
        self.review_is_honest(before, after)
        self.steps.append(step)
        self.payout = after

    def sent_again_only_on_proof(self, step: Transition) -> None:
        """Law 3, worked out from what EPAY was really asked."""
        assert step.event is not None
        assert step.event.kind == "no_such_order"
        assert self.policy.not_found_codes
        first = min(send.at for send in self.sends if send.may_have_left)
        last = self.sends[-1].at
        assert self.now - first <= self.policy.resend_horizon
        assert self.absences[-1] - last >= self.policy.visibility_delay
        spread: list[datetime] = []
        for asked_at in self.absences:
            far = not spread or asked_at - spread[-1] >= self.policy.visibility_delay / 2
            if asked_at > last and far:
                spread.append(asked_at)
        assert len(spread) >= 3
        assert spread[2] - spread[0] >= self.policy.visibility_delay

    def review_is_honest(self, before: PayoutState, after: PayoutState) -> None:
        """A flag has a date and a known code; what only a person settles is never covered up."""
        assert (after.review_reason is None) == (after.review_since is None)
        if after.review_reason is not None:
            assert review.code_of(after.review_reason) in REVIEW_CODES
            assert after.review_since is not None
            assert after.review_since <= self.now
        if before.review_reason and review.code_of(before.review_reason) in review.STICKY:
            assert after.review_reason is not None
            assert review.code_of(after.review_reason) in review.STICKY
        if after.status in FINAL and after.review_reason is not None:
            assert review.code_of(after.review_reason) in review.STICKY

    @invariant()
    def due_until_final(self) -> None:
        """Liveness: whatever happens, somebody must look again, until the end."""
        ended = self.payout.status in FINAL
        assert (self.payout.due_at is None) == ended
        assert (self.payout.finished_at is not None) == ended

    @invariant()
    def sends_are_dated(self) -> None:
        """The first send that may have left, the last one begun, and how many."""
        if self.payout.status in FINAL | {Status.PROCESSING, Status.PENDING_WITHDRAWAL}:
            return
        left = [send.at for send in self.sends if send.may_have_left]
        assert self.payout.first_sent_at == (min(left) if left else None)
        assert self.payout.last_sent_at == (self.sends[-1].at if self.sends else None)
        assert self.payout.attempts == len(self.sends)
        if self.payout.status in {Status.SUBMITTING, Status.UNKNOWN}:
            assert self.payout.first_sent_at is not None

    @invariant()
    def told_once(self) -> None:
        """One receipt at the start if asked for, one end at the end if asked for."""
        assert self.payout.notify is not None
        told = [
            (nth, m)
            for nth, step in enumerate(self.steps)
            for m in notifications.messages_for(step)
        ]
        receipts = [nth for nth, message in told if message.kwargs["status"] not in FINAL]
        ends = [nth for nth, message in told if message.kwargs["status"] in FINAL]
        moments = self.payout.notify["on"]
        assert receipts == ([0] if "accepted" in moments else [])
        assert len(ends) == ("final" in moments and self.payout.status in FINAL)
        sequences = [message.kwargs["sequence"] for _, message in told]
        assert sequences == sorted(set(sequences))

    def teardown(self) -> None:
        """The journal of the whole life is one unbroken chain."""
        assert_chained(getattr(self, "steps", []))


def test_any_life_keeps_the_laws() -> None:
    """A few hundred random lives; the same ones at every run."""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=350,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
