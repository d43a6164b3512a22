"""A send guard that defers, rejects and withdraws permits at random; the harmless choice allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState
from tests.simulation.seeded_choices import Choices
from worker.send_guard.permit import CheckResult, Defer, Permit, Reject

_PROBE_EVERY = timedelta(seconds=30)


@dataclass
class SimRefusalPause:
    """See `shared.storage.pauses.RefusalPause`."""

    played: Counter[str]
    in_force: bool = False
    probed_at: datetime | None = None

    def begin(self, reason: str, now: datetime) -> bool:
        del reason, now
        began, self.in_force = not self.in_force, True
        self.played["paused, since EPAY refuses us"] += began
        return began

    def end(self, now: datetime) -> bool:
        del now
        ended, self.in_force = self.in_force, False
        return ended

    def of(self, _account: str) -> SimRefusalPause:
        return self

    def claim_probe(self, now: datetime) -> bool:
        if not self.in_force or (self.probed_at and now - self.probed_at < _PROBE_EVERY):
            return False
        self.probed_at = now
        return True


class SimSendGuard:
    """See `worker.send_guard.guard.SendGuard`; it is the permit, too."""

    probe: str | None = None

    def __init__(
        self,
        choices: Choices,
        clock: Callable[[], datetime],
        pause: Callable[[str], None],
        shut_at_times: Callable[[], bool],
        played: Counter[str],
        refusal_pause: SimRefusalPause,
        paused: Callable[[], bool] = lambda: False,
        limit_weight: Callable[[], float] = lambda: 1,
    ) -> None:
        self._choices = choices
        self._clock = clock
        self._pause = pause
        self._shut_at_times = shut_at_times
        self._played = played
        self._refusal_pause = refusal_pause
        self._paused = paused
        self._limit_weight = limit_weight
        self._outside_limit: set[str] = set()

    def _stopped(self) -> str | None:
        if self._refusal_pause.in_force:
            return "paused: EPAY refuses us"
        return "database_changed" if self._paused() else None

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        if (reason := self._stopped()) is not None:
            return Defer(self._clock() + timedelta(seconds=300), reason)
        if not self._shut_at_times():
            return self
        self._pause("send guard: during the check")
        outside = payout.merchant_order_no in self._outside_limit
        fate = 2 if outside else self._choices.pick((12, 4, self._limit_weight()))
        if fate == 1:
            self._played["send guard: defer"] += 1
            return Defer(self._clock() + timedelta(seconds=45), "paused")
        if fate == 2 and payout.first_sent_at is None:
            self._played["send guard: outside EPAY's limit"] += 1
            self._outside_limit.add(payout.merchant_order_no)
            return Reject("EPAY's limit is 100 to 500 USD")
        return self

    def recover_permit(self, payout: PayoutState) -> Permit:
        return self

    def confirm(self) -> str | None:
        if (reason := self._stopped()) is not None:
            return reason
        if not self._shut_at_times() or not self._choices.pick((16, 1)):
            return None
        self._played["send guard: refuse after the claim"] += 1
        return "paused"

    def record(self, answer: OrderAnswer) -> None:
        del answer

    def release(self) -> None:
        pass
