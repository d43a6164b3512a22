"""The circuit breaker for creates as a pure state machine; all times are arguments, in seconds.

pybreaker does not serve: it costs several Redis round trips per call, opens on failures in a row
but not on the ratio of unknown outcomes, and half-open it lets every process probe. Here a
create costs no Redis call: each process counts failures itself and reads the shared state at most
once a second; the state is one small value that is replaced by compare-and-set.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown

KEY = "payouts:breaker"
"""The Redis key of the open state, for the gateway of the default account."""
KEPT_SECONDS = 3600
"""How long Redis keeps the open state if nothing is sent any more."""

_PROBE_CHECK_SECONDS = 5.0
"""How soon to check again on a probe in flight: most end long before `probe_lasts`."""

_WINDOW_FACTOR = 4


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """The settings; times in seconds."""

    failures: int = 5
    """How many creates in a row without an answer open the breaker."""
    pause: float = 5.0
    longest_pause: float = 60.0
    probe_lasts: float = 30.0
    """After this time without a result a probe no longer blocks the next one."""

    @property
    def window(self) -> int:
        """How many of the last creates count: half of them ending unknown open the breaker."""
        return self.failures * _WINDOW_FACTOR


@dataclass(frozen=True, slots=True)
class OpenState:
    """The open state. Times are Unix times on the store's clock."""

    since: float
    reason: str
    pause: float
    retry_at: float
    probes: int = 0
    probe: str | None = None
    """The token of the probe in flight."""
    probe_until: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next check is worthwhile; 0: a probe may be sent now."""
        in_flight = self.probe_until - now if self.probe is not None else 0.0
        return max(0.0, self.retry_at - now, min(in_flight, _PROBE_CHECK_SECONDS))


def breaker_key(gateway: str) -> str:
    """The Redis key of another gateway."""
    return f"{KEY}:{gateway}"


def open_breaker(now: float, reason: str, rules: BreakerRules) -> OpenState:
    """Open the breaker."""
    return OpenState(since=now, reason=reason, pause=rules.pause, retry_at=now + rules.pause)


def start_probe(state: OpenState, token: str, now: float, rules: BreakerRules) -> OpenState | None:
    """Let one create through as the probe `token`. None: too early, or one is in flight."""
    if state.wait(now) > 0:
        return None
    return replace(state, probes=state.probes + 1, probe=token, probe_until=now + rules.probe_lasts)


def fail_probe(state: OpenState, token: str, now: float, rules: BreakerRules) -> OpenState | None:
    """End an unanswered probe and double the pause. None: `token` is not the probe."""
    if state.probe != token:
        return None
    pause = min(state.pause * 2, rules.longest_pause)
    return replace(state, pause=pause, retry_at=now + pause, probe=None)


def release_probe(state: OpenState, token: str) -> OpenState | None:
    """Take back a probe that was not sent. None: `token` is not the probe."""
    if state.probe != token:
        return None
    return replace(state, probes=state.probes - 1, probe=None)


class FailureWindow:
    """The results of one process's last creates. Not safe to share between threads."""

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._in_a_row = 0
        self._unknown: deque[bool] = deque(maxlen=rules.window)

    def record(self, answer: OrderAnswer) -> str | None:
        """Count the result of a create; returns why the breaker has to open, or None.

        A refusal is an answer: EPAY is available.
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
    """Whether EPAY did not answer a create that was really made."""
    return isinstance(answer, NeverSent | OutcomeUnknown)


class BreakerStore(Protocol):
    """Keeps the open state, for one process or for all."""

    def read(self) -> tuple[float, OpenState | None]:
        """The store's time, and the open state; None: closed."""
        ...

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """Replace `old` by `new`; False if the state is no longer `old`."""
        ...


class MemoryBreakerStore:
    """A store in this process alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.state: OpenState | None = None

    def read(self) -> tuple[float, OpenState | None]:
        """See `BreakerStore`."""
        return self._clock(), self.state

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        """See `BreakerStore`."""
        if self.state != old:
            return False
        self.state = new
        return True


def serialize(state: OpenState | None) -> str:
    """The state as text for Redis; empty if closed."""
    if state is None:
        return ""
    fields = asdict(state)
    fields["why"] = fields.pop("reason")  # the stored name: workers of two releases share the key
    return json.dumps(fields, sort_keys=True)


def deserialize(text: str | None) -> OpenState | None:
    """The reverse of `serialize`; text that is not an open state counts as closed."""
    try:
        fields = dict(json.loads(text or "{}"))
        return OpenState(reason=fields.pop("why"), **fields)
    except (KeyError, TypeError, ValueError):
        return None
