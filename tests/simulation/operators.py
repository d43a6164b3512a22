"""People at the harness, at random: they read what they are shown, and act beside the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import OperationalError

from ops.resolution.actions import Action, Decision, NotAllowed, possible_actions
from ops.resolution.service import ResolutionService
from shared.domain.payout import JournalEvent, PayoutState, Status
from shared.domain.transitions import STATUS_OF_EPAY_CODE
from tests.simulation.gateway import NOT_FOUND, SECOND

if TYPE_CHECKING:
    from tests.simulation.world import World

_ACTS = (
    Action.NOTE,
    Action.RESEND,
    Action.REJECT,
    Action.ACCEPT_AS,
    Action.DISMISS,
    Action.RELEASE,
)
_EVENT = [field.name for field in fields(JournalEvent)]


@dataclass
class Person:
    """One who looks at a payout, decides, and is told what came of it."""

    world: World
    name: str
    second_person: bool

    def act(self, payout: PayoutState) -> None:
        """Look at a payout as it stands, then act on it; the world goes on in between."""
        world = self.world
        act = self._choose(payout)
        harness = self._desk()
        try:
            if world.choices.pick((3, 1)) == 1 and self.second_person:
                harness.approve(payout, self.name, "I looked too")
                self._tell(payout, "approves")
                return
            end = self._told_by_epay(payout) if act is Action.ACCEPT_AS else None
            decision = Decision(act, self.name, "I looked", end=end, code=NOT_FOUND)
            done = harness.act(payout, decision)
        except NotAllowed:
            self._tell(payout, f"may not {act}")
        except OperationalError:
            self._tell(payout, "finds PostgreSQL away")
        else:
            self._tell(payout, f"{act}{', to be approved' if done.proposed else ''}")

    def settle(self, payout: PayoutState) -> None:
        """Do what `payouts review` asks for: EPAY has no such order, so send it again or end it."""
        acts: tuple[Action, ...] = (Action.RESEND, Action.REJECT)
        end = None
        if (payout.epay_order_no or "").startswith(SECOND):
            acts, end = (Action.ACCEPT_AS,), self._told_by_epay(payout)
        for act in acts:
            try:
                decision = Decision(act, self.name, "asked", end=end, code=NOT_FOUND)
                done = self._desk().act(payout, decision)
                if done.proposed:
                    self._desk().approve(done.payout, "carol", "I asked too")
            except NotAllowed:
                continue
            self._tell(payout, f"settles it: {act}")
            return

    def _choose(self, payout: PayoutState) -> Action:
        """Mostly one that `payouts review` offers; at times what comes to mind."""
        choices = self.world.choices
        offered = [act for act, _ in reversed(possible_actions(payout))]
        every = list(_ACTS) if choices.pick((4, 1)) == 1 else offered
        return every[choices.between(0, len(every) - 1)]

    def _desk(self) -> ResolutionService:
        world = self.world
        return ResolutionService(
            store=world.context.store,
            ask=world.context.gateway.query,
            journal=self._journal,
            policy=world.context.policy,
            refusal_pause=world.refusal_pause,  # type: ignore[arg-type]
            needs_approval=self.second_person,
            clock=lambda: world.now,
            jitter=lambda: 0.0,
        )

    def _journal(self, payout_id: int) -> list[Mapping[str, Any]]:
        events = self.world.store.events[payout_id]
        return [{name: getattr(event, name) for name in _EVENT} for event in events]

    def _told_by_epay(self, payout: PayoutState) -> Status | None:
        """What EPAY says on the telephone: the truth, once there is an end."""
        orders = self.world.gateway.orders.get(payout.merchant_order_no, [])
        if not orders or not orders[0].ended:
            return None
        code = orders[0].end
        self.world.gateway.said[payout.merchant_order_no].add(code)
        return STATUS_OF_EPAY_CODE[code]

    def _tell(self, payout: PayoutState, what: str) -> None:
        self.world.gateway.played[f"a person: {what}"] += 1
        self.world.say(f"{self.name}, {payout.merchant_order_no}: {what}")
