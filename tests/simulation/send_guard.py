"""Brakes, limits and a last look before sending, at random; open in the harmless choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState
from tests.simulation.seeded_choices import Choices
from worker.send_guard.interface import ALLOW, Defer, Reject, Verdict


class SimGate:
    """See `worker.send_guard.interface.Gate`."""

    def __init__(
        self,
        choices: Choices,
        clock: Callable[[], datetime],
        pause: Callable[[str], None],
        shut_at_times: Callable[[], bool],
        played: Counter[str],
    ) -> None:
        self._choices = choices
        self._clock = clock
        self._pause = pause
        self._shut_at_times = shut_at_times
        self._played = played

    def look(self, payout: PayoutState, *, patience: timedelta) -> Verdict:
        if not self._shut_at_times():
            return ALLOW
        self._pause("gate: while it is asked")
        fate = self._choices.pick((12, 4, 1))
        if fate == 1:
            self._played["gate: wait"] += 1
            return Defer(self._clock() + timedelta(seconds=45), "a brake")
        if fate == 2 and payout.first_sent_at is None:
            self._played["gate: outside EPAY's limit"] += 1
            return Reject("EPAY's limit is 100 to 500 USD")
        return ALLOW

    def in_the_way(self, payout: PayoutState) -> str | None:
        if not self._shut_at_times() or not self._choices.pick((16, 1)):
            return None
        self._played["gate: shut after the claim"] += 1
        return "paused"

    def note(self, answer: OrderAnswer) -> None:
        del answer
