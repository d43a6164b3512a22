"""The circuit breaker of a worker process: while EPAY does not answer creates, new ones wait.

Queries are not held back. The state machine is `shared.domain.circuit_breaker`; this module adds
threads and the state shared through Redis, which is read at most once a second and only on demand.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

import structlog

from shared.domain import circuit_breaker as transitions
from shared.domain.circuit_breaker import BreakerRules, BreakerStore, FailureWindow, OpenState
from shared.domain.gateway import OrderAnswer

log = structlog.get_logger(__name__)

_READ_SECONDS = 1.0


class CircuitBreaker:
    """Safe to share between threads."""

    def __init__(
        self, store: BreakerStore, rules: BreakerRules, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock
        self._failures = FailureWindow(rules)
        self._lock = threading.Lock()
        self._state: OpenState | None = None
        """None: closed."""
        self._clock_offset = 0.0
        """The store's clock minus our own."""
        self._read_at: float | None = None
        self._closed_at = clock()

    def wait(self) -> float | None:
        """Seconds that a create has to wait; 0: it may be the probe; None: it need not wait."""
        first = self._read_at is None
        if first or self._is_old():
            self._refresh(blocking=first)
        state = self._state
        return None if state is None else state.wait(self._now())

    def start_probe(self) -> str | None:
        """Claim the probe, one over all processes; returns its token, None if it is not free."""
        token = secrets.token_hex(8)
        with self._lock:
            self._read()
            if self._state is None:
                return None
            probing = transitions.start_probe(self._state, token, self._now(), self._rules)
            return token if probing is not None and self._swap(probing) else None

    def release_probe(self, token: str) -> None:
        """Give back a probe that was not sent."""
        with self._lock:
            self._change(lambda state: transitions.release_probe(state, token))

    def record(self, answer: OrderAnswer, *, begun_at: float, probe: str | None) -> None:
        """Learn from a create that was really made.

        Args:
            begun_at: when, on this process's monotonic clock: a create that began before the
                breaker closed says nothing about EPAY since then.
            probe: the token, if the create was the probe.
        """
        with self._lock:
            if probe is not None:
                self._end_probe(answer, probe)
            elif self._state is None and begun_at >= self._closed_at:
                reason = self._failures.record(answer)
                if reason is not None:
                    self._open(reason)

    def _end_probe(self, answer: OrderAnswer, token: str) -> None:
        if transitions.is_failure(answer):
            self._change(
                lambda state: transitions.fail_probe(state, token, self._now(), self._rules)
            )
            return
        self._read()
        state = self._state
        if state is not None and self._swap(None):
            seconds = round(self._now() - state.since, 1)
            log.warning("breaker_closed", seconds_open=seconds, probes=state.probes)

    def _open(self, reason: str) -> None:
        self._read()
        if self._state is None and self._swap(
            transitions.open_breaker(self._now(), reason, self._rules)
        ):
            log.warning("breaker_open", reason=reason)

    def _change(self, transition: Callable[[OpenState], OpenState | None]) -> None:
        self._read()
        changed = transition(self._state) if self._state is not None else None
        if changed is not None:
            self._swap(changed)

    def _is_old(self) -> bool:
        return self._read_at is None or self._clock() - self._read_at >= _READ_SECONDS

    def _refresh(self, *, blocking: bool) -> None:
        """Read in one thread; the others go by the last state."""
        if not self._lock.acquire(blocking=blocking):
            return
        try:
            if self._is_old():
                self._read()
        finally:
            self._lock.release()

    def _read(self) -> None:
        now, state = self._store.read()
        self._clock_offset = now - self._clock()
        self._read_at = self._clock()
        self._set_state(state)

    def _swap(self, new: OpenState | None) -> bool:
        if not self._store.swap(self._state, new):
            self._read()
            return False
        self._set_state(new)
        return True

    def _set_state(self, state: OpenState | None) -> None:
        if self._state is not None and state is None:
            self._closed_at = self._clock()
            self._failures.clear()
        self._state = state

    def _now(self) -> float:
        return self._clock() + self._clock_offset
