"""What may keep a payout from being sent just now: brakes, rate, breaker, EPAY's limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing is in the way."""


@dataclass(frozen=True, slots=True)
class Defer:
    """Not now; the payout looks again at `until`, and nothing is wrong with it."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Reject:
    """EPAY's own limit excludes the amount; `words` name the limit."""

    words: str


Verdict = Allow | Defer | Reject
ALLOW = Allow()


class SendGuard(Protocol):
    """Asked before a payout is claimed for sending. Safe to share between threads."""

    def look(self, payout: PayoutState, *, patience: timedelta) -> Verdict:
        """Whether the payout may be sent now; may wait in place for its turn, `patience` at most.

        May ask EPAY and Redis: no connection to the database is held meanwhile (law 9).
        """
        ...

    def in_the_way(self, payout: PayoutState) -> str | None:
        """The last look, after the claim and before a byte leaves: what forbids it, or None."""
        ...

    def note(self, answer: OrderAnswer) -> None:
        """Learn from how a create request ended that was really made.

        Called in the thread of the look before it, as `in_the_way` is.
        """
        ...


class AllowAll:
    """A gate that stands open."""

    def look(self, payout: PayoutState, *, patience: timedelta) -> Verdict:
        """Go."""
        del payout, patience
        return ALLOW

    def in_the_way(self, payout: PayoutState) -> str | None:
        """Nothing."""
        del payout
        return None

    def note(self, answer: OrderAnswer) -> None:
        """Learn nothing."""
        del answer
