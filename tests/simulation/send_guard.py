"""A send guard that defers, rejects and withdraws permits at random; the harmless choice allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState
from tests.simulation.seeded_choices import Choices
from worker.send_guard.permit import CheckResult, Defer, Permit, Reject


class SimSendGuard:
    """See `worker.send_guard.guard.SendGuard`; it is the permit, too."""

    def __init__(
        self,
        choices: Choices,
        clock: Callable[[], datetime],
        pause: Callable[[str], None],
        shut_at_times: Callable[[], bool],
        played: Counter[str],
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._choices = choices
        self._clock = clock
        self._pause = pause
        self._shut_at_times = shut_at_times
        self._played = played
        self._paused = paused

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        if self._paused():
            return Defer(self._clock() + timedelta(seconds=300), "database_changed")
        if not self._shut_at_times():
            return self
        self._pause("send guard: during the check")
        fate = self._choices.pick((12, 4, 1))
        if fate == 1:
            self._played["send guard: defer"] += 1
            return Defer(self._clock() + timedelta(seconds=45), "paused")
        if fate == 2 and payout.first_sent_at is None:
            self._played["send guard: outside EPAY's limit"] += 1
            return Reject("EPAY's limit is 100 to 500 USD")
        return self

    def recover_permit(self, payout: PayoutState) -> Permit:
        return self

    def confirm(self) -> str | None:
        if self._paused():
            return "database_changed"
        if not self._shut_at_times() or not self._choices.pick((16, 1)):
            return None
        self._played["send guard: refuse after the claim"] += 1
        return "paused"

    def record(self, answer: OrderAnswer) -> None:
        del answer

    def release(self) -> None:
        pass
