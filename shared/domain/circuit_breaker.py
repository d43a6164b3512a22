"""The circuit breaker on create requests: closed, open, half-open. Pure; times in seconds.

Not a library (pybreaker was considered), because we need three things: no Redis call while closed,
opening on the ratio of unknown outcomes too, and one half-open probe across all processes. Each
process counts its own failures; only the open state is shared, as one small value in Redis that is
replaced by compare-and-set.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown

KEY = "payouts:breaker"
"""The Redis key of the open state."""
KEPT_SECONDS = 3600
"""When Redis drops the open state if nothing is sent any more."""

_PROBE_LOOK_SECONDS = 5.0
"""When to look again while a probe is in flight; most end long before `probe_lasts`."""

_WINDOW_OF_FAILURES = 4
"""The window for unknown outcomes, in multiples of `BreakerRules.failures`."""


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """The settings; times in seconds."""

    failures: int = 5
    """The breaker opens after so many creates in a row without an answer."""
    pause: float = 5.0
    """Until the first probe; each failed probe doubles it up to `longest_pause`."""
    longest_pause: float = 60.0
    probe_lasts: float = 30.0
    """After it a probe without a result no longer blocks the next one."""

    @property
    def window(self) -> int:
        """The breaker opens when half of the last so many creates ended unknown."""
        return self.failures * _WINDOW_OF_FAILURES


@dataclass(frozen=True, slots=True)
class OpenState:
    """An open breaker. Times are Unix times on the clock of its store."""

    since: float
    reason: str
    pause: float
    retry_at: float
    probes: int = 0
    probe: str | None = None
    """The token of the probe in flight."""
    probe_until: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next attempt is worthwhile; 0: a probe may be sent now."""
        in_flight = self.probe_until - now if self.probe is not None else 0.0
        return max(0.0, self.retry_at - now, min(in_flight, _PROBE_LOOK_SECONDS))


def open_breaker(now: float, reason: str, rules: BreakerRules) -> OpenState:
    """Open the breaker."""
    return OpenState(since=now, reason=reason, pause=rules.pause, retry_at=now + rules.pause)


def start_probe(state: OpenState, token: str, now: float, rules: BreakerRules) -> OpenState | None:
    """Let one create through as the probe `token`. None: too early, or another is in flight."""
    if state.wait(now) > 0:
        return None
    return replace(state, probes=state.probes + 1, probe=token, probe_until=now + rules.probe_lasts)


def fail_probe(state: OpenState, token: str, now: float, rules: BreakerRules) -> OpenState | None:
    """The probe got no answer: double the pause. None: another probe took its place."""
    if state.probe != token:
        return None
    pause = min(state.pause * 2, rules.longest_pause)
    return replace(state, pause=pause, retry_at=now + pause, probe=None)


def release_probe(state: OpenState, token: str) -> OpenState | None:
    """The probe was not sent: do not count it. None: another probe took its place."""
    if state.probe != token:
        return None
    return replace(state, probes=state.probes - 1, probe=None)


class FailureWindow:
    """The results of one process's own creates. Not thread-safe."""

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._in_a_row = 0
        self._unknown: deque[bool] = deque(maxlen=rules.window)

    def record(self, answer: OrderAnswer) -> str | None:
        """Record the result of a create; returns why the breaker must open, or None.

        A refusal is an answer: EPAY is reachable.
        """
        self._in_a_row = self._in_a_row + 1 if is_failure(answer) else 0
        self._unknown.append(isinstance(answer, OutcomeUnknown))
        if self._in_a_row >= self._rules.failures:
            return f"{self._in_a_row} creates in a row without an answer of EPAY"
        unknown = sum(self._unknown)
        window = self._rules.window
        if len(self._unknown) == window and unknown * 2 >= window:
            return f"{unknown} of the last {window} creates ended with an unknown outcome"
        return None

    def clear(self) -> None:
        """Forget all results."""
        self._in_a_row = 0
        self._unknown.clear()


def is_failure(answer: OrderAnswer) -> bool:
    """Whether a create that was attempted got no answer from EPAY."""
    return isinstance(answer, NeverSent | OutcomeUnknown)


class BreakerStore(Protocol):
    """Stores the open state, for one process or for all."""

    def read(self) -> tuple[float, OpenState | None]:
        """The store's time and the open state; None: closed."""
        ...

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """Replace `old` by `new` if the store still has `old`; whether it did."""
        ...


class MemoryBreakerStore:
    """A store for this process alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.standing: OpenState | None = None

    def read(self) -> tuple[float, OpenState | None]:
        """See `BreakerStore`."""
        return self._clock(), self.standing

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """See `BreakerStore`."""
        if self.standing != old:
            return False
        self.standing = new
        return True


def serialize(state: OpenState | None) -> str:
    """The open state as text for Redis; empty: closed."""
    return "" if state is None else json.dumps(asdict(state), sort_keys=True)


def deserialize(text: str | None) -> OpenState | None:
    """The inverse of `serialize`; an unreadable text counts as closed."""
    try:
        return OpenState(**json.loads(text)) if text else None
    except (TypeError, ValueError):
        return None
