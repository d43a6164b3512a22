"""A person's act on a payout: taken by the workers' own claim, decided on EPAY's fresh answer.

EPAY is asked with no connection to the database held (law 9). What it answers is recorded first,
as a worker would record it; the act is recorded only if nobody touched the payout meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ops.resolution import actions, approval
from ops.resolution.actions import ASKS_EPAY, Decision, NotAllowed
from shared.clock import utcnow
from shared.domain import lifecycle, reports, review
from shared.domain.gateway import OrderAnswer, Refused, Report
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.redaction import redact_refusal
from shared.domain.transitions import FINAL
from shared.storage.payout_store import PayoutStore

Journal = Sequence[Mapping[str, Any]]

_CONCURRENT_CHANGE = (
    "a worker or another person acted on it at the same moment, and nothing was done for you: look"
    " again"
)


class ConcurrentChange(NotAllowed):
    """Somebody else acted on the payout at the same moment."""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What came of an act."""

    payout: PayoutState
    """As it stands now."""
    answer: OrderAnswer | None
    """What EPAY said, where it was asked."""
    proposed: bool = False
    """The act waits for a second person."""
    by_epay: bool = False
    """EPAY's own answer ended the payout as the act would have; there was nothing left to do."""


@dataclass(frozen=True)
class ResolutionService:
    """Where people act on payouts of one EPAY account."""

    store: PayoutStore
    ask: Callable[[str], OrderAnswer]
    """Asks EPAY for an order; whatever happens is the answer."""
    journal: Callable[[int], Journal]
    """A payout's events in order."""
    account: str
    policy: Policy
    needs_approval: bool = False
    """Whether an act on an outcome that nobody knows waits for another person's approval."""
    clock: Callable[[], datetime] = utcnow
    jitter: Callable[[], float] = field(default=lambda: random.uniform(-1, 1))  # noqa: S311

    def refresh(self, payout: PayoutState) -> tuple[PayoutState, OrderAnswer]:
        """Ask EPAY now, and record its answer as if the sweep had asked.

        Raises:
            NotAllowed: the payout is another EPAY account's.
        """
        return self._hear(payout, only_reports=False)

    def look(self, payout: PayoutState) -> tuple[PayoutState, OrderAnswer]:
        """Ask EPAY now, for a person who is about to decide; only a report is recorded.

        Raises:
            NotAllowed: the payout is another EPAY account's.
        """
        return self._hear(payout, only_reports=True)

    def act(self, payout: PayoutState, decision: Decision) -> ActionResult:
        """Do what the person decided, or propose it where a second person must approve.

        Raises:
            NotAllowed: a rule forbids it, EPAY could not be asked, or somebody else was quicker.
        """
        return self._act(payout, lambda _journal: decision)

    def approve(
        self, payout: PayoutState, person: str, reason: str, seen: Decision | None = None
    ) -> ActionResult:
        """Do what another person proposed, if it still is allowed.

        Args:
            seen: the proposal that the person was shown; another one is refused.

        Raises:
            NotAllowed: as for `act`; or nothing is proposed, or by the same person.
        """

        def decision(journal: Journal) -> Decision:
            found = approval.open_proposal(journal)
            if found is None:
                raise NotAllowed(
                    "nothing is proposed for it (a proposal ends when the payout moves on):"
                    " propose what is to be done"
                )
            if seen not in {None, found}:
                raise ConcurrentChange("another act was proposed meanwhile: look again")
            return approval.approved(found, person, reason)

        return self._act(payout, decision)

    def _act(self, payout: PayoutState, deciding: Callable[[Journal], Decision]) -> ActionResult:
        standing = self._as_seen(payout)
        journal = [one for one in self.journal(payout.id) if one["sequence"] <= standing.sequence]
        decision = deciding(journal)
        asks = decision.action in ASKS_EPAY and standing.status not in FINAL
        if not asks or standing.status is Status.SUBMITTING:
            return self._decide(standing, decision, None, self.clock(), back=standing.due_at)
        self._is_ours(standing)
        claimed = self._claim(standing)
        try:
            return self._decide_with_epay(claimed, decision, back=standing.due_at)
        except NotAllowed:
            self._give_back(claimed, standing.due_at)
            raise

    def _as_seen(self, payout: PayoutState) -> PayoutState:
        """The payout as it stands; refused if it is not what the person looked at."""
        fresh = self._lapsed(payout)
        if payout.status is not Status.SUBMITTING and _looks(fresh) != _looks(payout):
            raise ConcurrentChange(
                f"it is {_words(fresh)} now, and was {_words(payout)} when you looked"
            )
        return fresh

    def _lapsed(self, payout: PayoutState) -> PayoutState:
        """The payout as it stands, a sender's lease that is over taken away, as the sweep would."""
        now = self.clock()
        found = self.store.update(
            payout.id, lambda fresh: lifecycle.on_lease_expired(fresh, now=now)
        )
        return found or payout

    def _claim(self, standing: PayoutState) -> PayoutState:
        """Take the payout as the sweep does: whoever else has it finds that `due_at` moved."""
        until = self.clock() + self.policy.lease

        def claim(fresh: PayoutState) -> Transition:
            if fresh.sequence != standing.sequence:
                raise ConcurrentChange(_CONCURRENT_CHANGE)
            return Transition(fresh, replace(fresh, due_at=until))

        return self.store.update(standing.id, claim) or standing

    def _give_back(self, claimed: PayoutState, due_at: datetime | None) -> None:
        """It is followed as if nobody had asked."""

        def decide(fresh: PayoutState) -> Transition | None:
            if not _is_same(fresh, claimed):
                return None
            return Transition(fresh, replace(fresh, due_at=due_at))

        self.store.update(claimed.id, decide)

    def _decide_with_epay(
        self, claimed: PayoutState, decision: Decision, *, back: datetime | None
    ) -> ActionResult:
        asked_at = self.clock()
        answer = self.ask(claimed.merchant_order_no)
        if not isinstance(answer, Report):
            return self._decide(claimed, decision, answer, asked_at, back=back)
        standing = self._record_report(claimed, answer, asked_at)
        if standing.status in FINAL and standing.status is decision.end:
            return ActionResult(standing, answer, by_epay=True)
        return self._decide(standing, decision, answer, asked_at, back=standing.due_at)

    def _record_report(
        self, claimed: PayoutState, report: Report, asked_at: datetime
    ) -> PayoutState:
        """What EPAY reports is news whatever a person decides, and is put on record first."""
        ours = [False]

        def decide(fresh: PayoutState) -> Transition | None:
            ours[:] = [_is_same(fresh, claimed)]
            return self._heard(fresh, report, asked_at)

        standing = self.store.update(claimed.id, decide)
        if standing is None or not ours[0]:
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
    ) -> ActionResult:
        """Record the act, if the payout still is as it was decided on; `back` is its `due_at`."""
        now = self.clock()
        proposes = self._proposes(standing, decision)

        def decide(fresh: PayoutState) -> Transition:
            same = (
                fresh.sequence == standing.sequence
                if answer is None
                else (_is_same(fresh, standing))
            )
            if not same:
                raise ConcurrentChange(_CONCURRENT_CHANGE)
            given_back = fresh if answer is None else replace(fresh, due_at=back)
            step = actions.decide(
                given_back, decision, answer, asked_at=asked_at, now=now, policy=self.policy
            )
            return approval.proposal(given_back, decision, now=now) if proposes else step

        after = self.store.update(standing.id, decide)
        return ActionResult(after or standing, answer, proposed=proposes)

    def _proposes(self, payout: PayoutState, decision: Decision) -> bool:
        if not self.needs_approval or decision.proposed_by is not None:
            return False
        return approval.is_needed(payout, decision)

    def _hear(self, payout: PayoutState, *, only_reports: bool) -> tuple[PayoutState, OrderAnswer]:
        self._is_ours(payout)
        standing = self._lapsed(payout)
        asked_at = self.clock()
        answer = self.ask(payout.merchant_order_no)
        if isinstance(answer, Refused):
            answer = redact_refusal(answer, payout.account_no)
        if only_reports and not isinstance(answer, Report):
            return standing, answer
        after = self.store.update(payout.id, lambda fresh: self._heard(fresh, answer, asked_at))
        return after or standing, answer

    def _heard(
        self, fresh: PayoutState, answer: OrderAnswer, asked_at: datetime
    ) -> Transition | None:
        return reports.on_query_answer(
            fresh,
            answer,
            asked_at=asked_at,
            now=self.clock(),
            policy=self.policy,
            jitter=self.jitter(),
        )

    def _is_ours(self, payout: PayoutState) -> None:
        """Another account's key would be answered "no such order", whatever the order's fate."""
        if payout.epay_account != self.account:
            raise NotAllowed(
                f"it is a payout of {payout.epay_account}, and EPAY_ACCOUNT is"
                f" {self.account or 'not set'}: EPAY can only be asked with its own settings"
            )


def _is_same(fresh: PayoutState, ours: PayoutState) -> bool:
    """Whether nobody touched the payout since it was ours: neither its story nor its clock."""
    return (fresh.sequence, fresh.due_at) == (ours.sequence, ours.due_at)


def _looks(payout: PayoutState) -> tuple[str, str]:
    """What a person goes by."""
    return payout.status.value, review.code_of(payout.review_reason or "")


def _words(payout: PayoutState) -> str:
    status, code = _looks(payout)
    return f"{status}, in review for {code}" if code else status
