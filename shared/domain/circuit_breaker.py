"""The circuit breaker on creates, as a pure state machine: times come in, in seconds.

Not a library (pybreaker was looked at): each of its calls costs several round trips to Redis, it
counts failures in a row and knows no share of unknown outcomes, and half-open it lets each process
try. Here the healthy path asks nobody: evidence is gathered in the process, and only what is open
is shared, as one small value that is replaced by compare-and-set.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown

KEY = "payouts:breaker"
"""Where in Redis it stands while it is open."""
KEPT_SECONDS = 3600
"""How long it is remembered when nothing is sent any more."""

_PROBE_LOOK_SECONDS = 5.0
"""A probe that is under way mostly ends long before it may no longer be waited for."""

_WINDOW_OF_FAILURES = 4


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """The settings; times in seconds."""

    failures: int = 5
    """Creates in a row that EPAY did not answer."""
    pause: float = 5.0
    longest_pause: float = 60.0
    probe_lasts: float = 30.0
    """After it a probe of which nothing was heard no longer keeps another from being sent."""

    @property
    def window(self) -> int:
        """Of so many creates fewer than half may end unknown."""
        return self.failures * _WINDOW_OF_FAILURES


@dataclass(frozen=True, slots=True)
class OpenState:
    """An open breaker. Times are Unix times on the clock of whoever keeps it."""

    since: float
    reason: str
    pause: float
    retry_at: float
    probes: int = 0
    probe: str | None = None
    """Whose probe is under way."""
    probe_until: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until it is worth looking again; 0: a probe may be sent now."""
        under_way = self.probe_until - now if self.probe is not None else 0.0
        return max(0.0, self.retry_at - now, min(under_way, _PROBE_LOOK_SECONDS))


def open_breaker(now: float, why: str, rules: BreakerRules) -> OpenState:
    """The breaker opens."""
    return OpenState(since=now, reason=why, pause=rules.pause, retry_at=now + rules.pause)


def start_probe(
    opening: OpenState, token: str, now: float, rules: BreakerRules
) -> OpenState | None:
    """One create is let through, as `token`'s. None: not yet, or another is under way."""
    if opening.wait(now) > 0:
        return None
    return replace(
        opening, probes=opening.probes + 1, probe=token, probe_until=now + rules.probe_lasts
    )


def fail_probe(opening: OpenState, token: str, now: float, rules: BreakerRules) -> OpenState | None:
    """The probe was not answered: twice the pause. None: it is no longer the probe."""
    if opening.probe != token:
        return None
    pause = min(opening.pause * 2, rules.longest_pause)
    return replace(opening, pause=pause, retry_at=now + pause, probe=None)


def release_probe(opening: OpenState, token: str) -> OpenState | None:
    """The probe was not sent after all: it did not happen. None: it is no longer the probe."""
    if opening.probe != token:
        return None
    return replace(opening, probes=opening.probes - 1, probe=None)


class FailureWindow:
    """What one process saw of its own creates. Not safe to share between threads."""

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._in_a_row = 0
        self._unknown: deque[bool] = deque(maxlen=rules.window)

    def record(self, answer: OrderAnswer) -> str | None:
        """Take in how a create ended; why the breaker is to open, or None.

        A refusal is an answer: EPAY is there.
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
        """Begin anew."""
        self._in_a_row = 0
        self._unknown.clear()


def is_failure(answer: OrderAnswer) -> bool:
    """Whether EPAY did not answer a create that was really made."""
    return isinstance(answer, NeverSent | OutcomeUnknown)


class BreakerStore(Protocol):
    """Where the opening is kept, for one process or for all."""

    def read(self) -> tuple[float, OpenState | None]:
        """The time there, and what stands there."""
        ...

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """Replace `old` by `new`, if `old` still stands there."""
        ...


class MemoryBreakerStore:
    """A board of this process alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.standing: OpenState | None = None

    def read(self) -> tuple[float, OpenState | None]:
        """See `Board`."""
        return self._clock(), self.standing

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """See `Board`."""
        if self.standing != old:
            return False
        self.standing = new
        return True


def serialize(opening: OpenState | None) -> str:
    """As Redis keeps it; nothing for none."""
    return "" if opening is None else json.dumps(asdict(opening), sort_keys=True)


def deserialize(text: str | None) -> OpenState | None:
    """The opposite of `written`; what is no opening counts as none."""
    try:
        return OpenState(**json.loads(text)) if text else None
    except (TypeError, ValueError):
        return None
