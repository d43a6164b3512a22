"""The send guard: decides whether a payout may be sent now, and learns from how sending ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState


class Permit(Protocol):
    """Permission to send one payout once. Used by one thread at a time."""

    def confirm(self) -> str | None:
        """Check again right before the request, after the claim; returns why not to send, or None.

        Waits for the request's turn under the rate limit. A refused permit is released.
        """
        ...

    def record(self, answer: OrderAnswer) -> None:
        """Learn from the answer to a create request that was really made."""
        ...

    def release(self) -> None:
        """Give the permit back: nothing will be sent. Does nothing after `record`."""
        ...


@dataclass(frozen=True, slots=True)
class Defer:
    """The payout may not be sent before `until`; nothing is wrong with it."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """EPAY's own limit excludes the amount; `reason` names the limit."""

    reason: str


CheckResult = Permit | Defer | Reject


class SendGuard(Protocol):
    """Checked before a payout is claimed for sending. Safe to share between threads."""

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        """Decide whether the payout may be sent now; waits at most `max_wait` for its turn.

        May ask EPAY and Redis: no database connection is held meanwhile (law 9). With a `max_wait`
        of zero it asks EPAY nothing, and its permit holds nothing that must be released.
        """
        ...

    def recover_permit(self, payout: PayoutState) -> Permit:
        """Permit a payout that was claimed by an interrupted run of the same task.

        Its permit is lost and the claim must not be checked again: `confirm` does what is left.
        """
        ...


class AllowAll:
    """A send guard and a permit in one, without any restriction."""

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        """See `SendGuard`."""
        del payout, max_wait
        return self

    def recover_permit(self, payout: PayoutState) -> Permit:
        """See `SendGuard`."""
        del payout
        return self

    def confirm(self) -> str | None:
        """See `Permit`."""
        return None

    def record(self, answer: OrderAnswer) -> None:
        """See `Permit`."""
        del answer

    def release(self) -> None:
        """See `Permit`."""
