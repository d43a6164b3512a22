"""A person's action on a payout: claimed like by a worker, decided on EPAY's fresh answer.

No database connection is held during the query (law 9). EPAY's answer is recorded first, as a
worker would record it; the action is recorded only if the payout did not change meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ops.resolution import actions, approval
from ops.resolution.actions import ASKS_EPAY, Decision, NotAllowed, require_account
from shared.clock import utcnow
from shared.domain import lifecycle, reports
from shared.domain.absence_proof import Control
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.gateway import OrderAnswer, Refused, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.redaction import redact_refusal
from shared.domain.transitions import FINAL
from shared.storage.pauses import RefusalPause
from shared.storage.payout_store import PayoutStore
from shared.storage.query_answers import ask_control

Journal = Sequence[Mapping[str, Any]]

_CONCURRENT_CHANGE = (
    "a worker or another person changed it at the same moment; nothing was done. Check it and try"
    " again"
)


class ConcurrentChange(NotAllowed):
    """A worker or another person changed the payout at the same moment."""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of an action."""

    payout: PayoutState
    """Its state now."""
    answer: OrderAnswer | None
    """EPAY's answer, if it was queried."""
    proposed: bool = False
    """The action waits for a second person."""
    by_epay: bool = False
    """EPAY's own answer gave the payout the final status that the action would have given."""


@dataclass(frozen=True)
class ResolutionService:
    """The actions of people on payouts of one EPAY account."""

    store: PayoutStore
    ask: Callable[[str], OrderAnswer]
    """Queries EPAY, by the key of that account, for an order; a failure is an answer too."""
    journal: Callable[[int], Journal]
    """A payout's events in order."""
    policy: Policy
    refusal_pause: RefusalPause
    """Stops new sends while EPAY refuses an order that it must know (law 12)."""
    needs_approval: bool = False
    """Whether an action on an unknown outcome waits for another person's approval."""
    is_forgetful: Callable[[], bool] = lambda: False
    """Whether the database went back in time, and may have forgotten a send (law 11)."""
    clock: Callable[[], datetime] = utcnow
    jitter: Callable[[], float] = field(default=lambda: random.uniform(-1, 1))  # noqa: S311

    def refresh(self, payout: PayoutState) -> tuple[PayoutState, OrderAnswer]:
        """Query EPAY now, and record its answer as if the sweep had queried.

        Raises:
            NotAllowed: the payout belongs to another EPAY account.
        """
        return self._query(payout, only_reports=False)

    def look(self, payout: PayoutState) -> tuple[PayoutState, OrderAnswer]:
        """Query EPAY now, for a person who is about to decide; only a report is recorded.

        Raises:
            NotAllowed: the payout belongs to another EPAY account.
        """
        return self._query(payout, only_reports=True)

    def act(self, payout: PayoutState, decision: Decision) -> ActionResult:
        """Do what the person decided, or propose it if a second person must approve.

        Raises:
            NotAllowed: a rule forbids it, EPAY could not be queried, or the payout changed.
        """
        return self._act(payout, lambda _journal: decision)

    def approve(
        self, payout: PayoutState, person: str, reason: str, seen: Decision | None = None
    ) -> ActionResult:
        """Do what another person proposed, if it is still allowed.

        Args:
            seen: the proposal that the person was shown; another proposal is refused.

        Raises:
            NotAllowed: as for `act`; or there is no proposal, or the same person made it.
        """

        def decision(journal: Journal) -> Decision:
            found = approval.open_proposal(journal)
            if found is None:
                raise NotAllowed(
                    "nothing is proposed for it (a status change voids a proposal): propose an"
                    " action"
                )
            if seen not in {None, found}:
                raise ConcurrentChange(
                    "another action was proposed meanwhile: check it and try again"
                )
            return approval.approved(found, person, reason)

        return self._act(payout, decision)

    def _act(self, payout: PayoutState, deciding: Callable[[Journal], Decision]) -> ActionResult:
        standing = self._as_seen(payout)
        journal = [one for one in self.journal(payout.id) if one["sequence"] <= standing.sequence]
        decision = deciding(journal)
        needs_query = decision.action in ASKS_EPAY and standing.status not in FINAL
        if not needs_query or standing.status is Status.SUBMITTING:
            return self._decide(standing, decision, None, self.clock(), back=standing.due_at)
        require_account(standing, self.policy)
        claimed = self._claim(standing)
        try:
            return self._decide_with_epay(claimed, decision, back=standing.due_at)
        except NotAllowed:
            self._release_claim(claimed, standing.due_at)
            raise

    def _as_seen(self, payout: PayoutState) -> PayoutState:
        """The payout's present state; refused if it is not the state that the person saw.

        That a lease expired meanwhile is no news: `submitting` says that it may.
        """
        fresh = self._expire_lease(payout)
        lapsed = payout.status is Status.SUBMITTING and fresh.status is Status.UNKNOWN
        same_review = (fresh.review_reason, fresh.review_since) == (
            payout.review_reason,
            payout.review_since,
        )
        if not same_review or not (lapsed or fresh.status is payout.status):
            raise ConcurrentChange(
                f"it is {_describe(fresh)} now, and was {_describe(payout)} when you saw it"
            )
        return fresh

    def _expire_lease(self, payout: PayoutState) -> PayoutState:
        """The payout's present state; an expired lease of a worker is ended, as by the sweep."""
        now = self.clock()
        found = self.store.update(
            payout.id, lambda fresh: lifecycle.on_lease_expired(fresh, now=now)
        )
        return found or payout

    def _claim(self, standing: PayoutState) -> PayoutState:
        """Claim the payout as the sweep does: any other holder finds that `due_at` moved."""
        until = self.clock() + self.policy.lease

        def claim(fresh: PayoutState) -> Transition:
            if fresh.sequence != standing.sequence:
                raise ConcurrentChange(_CONCURRENT_CHANGE)
            return Transition(fresh, replace(fresh, due_at=until))

        return self.store.update(standing.id, claim) or standing

    def _release_claim(self, claimed: PayoutState, due_at: datetime | None) -> None:
        """Restore the time of the next check."""

        def decide(fresh: PayoutState) -> Transition | None:
            if not _is_unchanged(fresh, claimed):
                return None
            return Transition(fresh, replace(fresh, due_at=due_at))

        self.store.update(claimed.id, decide)

    def _decide_with_epay(
        self, claimed: PayoutState, decision: Decision, *, back: datetime | None
    ) -> ActionResult:
        asked_at = self.clock()
        answer = self.ask(claimed.merchant_order_no)
        if not isinstance(answer, Report):
            control = self._control_of(claimed, answer, asked_at)
            return self._decide(claimed, decision, answer, asked_at, back=back, control=control)
        standing = self._record_report(claimed, answer, asked_at)
        if standing.status in FINAL and standing.status is decision.end:
            return ActionResult(standing, answer, by_epay=True)
        return self._decide(standing, decision, answer, asked_at, back=standing.due_at)

    def _record_report(
        self, claimed: PayoutState, report: Report, asked_at: datetime
    ) -> PayoutState:
        """EPAY's report is recorded first, whatever the person decided."""
        unchanged = [False]

        def decide(fresh: PayoutState) -> Transition | None:
            unchanged[:] = [_is_unchanged(fresh, claimed)]
            return self._apply_answer(fresh, report, asked_at)

        standing = self.store.update(claimed.id, decide)
        if standing is None or not unchanged[0]:
            raise ConcurrentChange(_CONCURRENT_CHANGE)
        return standing

    def _decide(
        self,
        standing: PayoutState,
        decision: Decision,
        answer: OrderAnswer | None,
        asked_at: datetime,
        *,
        back: datetime | None,
        control: Control = Control.MISSING,
    ) -> ActionResult:
        """Record the action if the payout is unchanged since; `back` becomes its `due_at`."""
        now = self.clock()
        may_propose = self.needs_approval and decision.proposed_by is None
        forgetful = self.is_forgetful()
        proposes = may_propose and approval.is_needed(standing, decision.action)

        def decide(fresh: PayoutState) -> Transition:
            unchanged = fresh.sequence == standing.sequence
            if not unchanged or (answer is not None and fresh.due_at != standing.due_at):
                raise ConcurrentChange(_CONCURRENT_CHANGE)
            released = fresh if answer is None else replace(fresh, due_at=back)
            step = actions.decide(
                released,
                decision,
                answer,
                asked_at=asked_at,
                now=now,
                policy=self.policy,
                control=control,
                forgetful=forgetful,
            )
            return approval.proposal(released, decision, now=now) if proposes else step

        after = self.store.update(standing.id, decide)
        return ActionResult(after or standing, answer, proposed=proposes)

    def _query(self, payout: PayoutState, *, only_reports: bool) -> tuple[PayoutState, OrderAnswer]:
        require_account(payout, self.policy)
        standing = self._expire_lease(payout)
        asked_at = self.clock()
        answer = self.ask(payout.merchant_order_no)
        if isinstance(answer, Refused):
            answer = redact_refusal(answer, payout.account_no)
        if only_reports and not isinstance(answer, Report):
            return standing, answer
        control = self._control_of(payout, answer, asked_at)
        after = self.store.update(
            payout.id, lambda fresh: self._apply_answer(fresh, answer, asked_at, control)
        )
        return after or standing, answer

    def _control_of(self, payout: PayoutState, answer: OrderAnswer, asked_at: datetime) -> Control:
        """Ask EPAY for an order that it must know, if it refused the payout (law 12)."""
        if not isinstance(answer, Refused):
            return Control.MISSING
        accounts = self.policy.accounts or ConfiguredAccounts.one(payout.epay_account)
        home = accounts.find(payout.epay_account, payout.epay_gateway)
        if home is None:
            return Control.MISSING
        control, refusal = ask_control(
            self.store, home, self.ask, asked_at, self.policy, [payout.id]
        )
        if control is Control.REFUSED:
            self.refusal_pause.begin(refusal, self.clock())
        elif control is Control.PASSED:
            self.refusal_pause.end(self.clock())
        return control

    def _apply_answer(
        self,
        fresh: PayoutState,
        answer: OrderAnswer,
        asked_at: datetime,
        control: Control = Control.MISSING,
    ) -> Transition | None:
        return reports.on_query_answer(
            fresh,
            answer,
            asked_at=asked_at,
            now=self.clock(),
            policy=self.policy,
            jitter=self.jitter(),
            control=control,
        )


def _is_unchanged(fresh: PayoutState, ours: PayoutState) -> bool:
    """Whether the payout has no new event and its `due_at` did not move since the claim."""
    return (fresh.sequence, fresh.due_at) == (ours.sequence, ours.due_at)


def _describe(payout: PayoutState) -> str:
    """The status and the review: what a person sees and decides on."""
    if payout.review_since is None:
        return payout.status.value
    since = f"{payout.review_since:%F %T} UTC"
    return f"{payout.status}, in review for {payout.review_reason} (since {since})"
