"""The circuit breakers of several processes that share one store."""

from __future__ import annotations

import pytest

from shared.domain.circuit_breaker import BreakerRules, MemoryBreakerStore, OpenState
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Report
from tests.support.fake_redis import Clock
from worker.send_guard.circuit_breaker import CircuitBreaker

RULES = BreakerRules(failures=5, pause=5, longest_pause=60, probe_lasts=30)
PAID = Report("create", "a", "o", "e", "1", None, None)
AWAY = NeverSent("connection refused")
UNKNOWN = OutcomeUnknown("read timeout")


class Told:
    """Counts how often a board is read."""

    def __init__(self, board: MemoryBreakerStore) -> None:
        self.board = board
        self.calls = 0

    def read(self) -> tuple[float, OpenState | None]:
        self.calls += 1
        return self.board.read()

    def swap(self, old: OpenState | None, new: OpenState | None) -> bool:
        self.calls += 1
        return self.board.swap(old, new)


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


def breakers(clock: Clock, count: int) -> tuple[list[CircuitBreaker], Told]:
    """So many processes before one board."""
    board = Told(MemoryBreakerStore(clock))
    return [CircuitBreaker(board, RULES, clock) for _ in range(count)], board


def note(
    breaker: CircuitBreaker, clock: Clock, *answers: OrderAnswer, probe: str | None = None
) -> None:
    for answer in answers:
        breaker.record(answer, begun_at=clock(), probe=probe)


def test_the_healthy_path_asks_nobody(clock: Clock) -> None:
    """A thousand creates within a second: one look at the board."""
    [breaker], board = breakers(clock, 1)
    for _ in range(1000):
        assert breaker.wait() is None
        note(breaker, clock, PAID)
    assert board.calls == 1
    clock.now += 1
    breaker.wait()
    assert board.calls == 2


def test_what_one_process_sees_holds_for_all_within_a_second(clock: Clock) -> None:
    """And one of them is let through to see whether EPAY is back; then all go on."""
    (one, other), _ = breakers(clock, 2)
    assert other.wait() is None
    note(one, clock, *[AWAY] * 5)
    assert one.wait() == 5
    clock.now += 1
    assert other.wait() == 4
    clock.now += 4
    assert one.wait() == other.wait() == 0
    tokens = [breaker.start_probe() for breaker in (one, other)]
    assert tokens[0] is not None
    assert tokens[1] is None
    note(one, clock, PAID, probe=tokens[0])
    assert one.wait() is None
    clock.now += 1
    assert other.wait() is None
    note(one, clock, *[AWAY] * 4)
    assert one.wait() is None, "the evidence begins anew"


def test_a_probe_without_an_answer_makes_all_wait_longer(clock: Clock) -> None:
    (one, other), _ = breakers(clock, 2)
    note(one, clock, *[UNKNOWN] * 5)
    clock.now += 5
    token = other.start_probe()
    assert token is not None
    note(other, clock, UNKNOWN, probe=token)
    clock.now += 1
    assert one.wait() == other.wait() == 9


def test_what_was_under_way_while_it_was_open_is_no_evidence(clock: Clock) -> None:
    """Timeouts of creates begun before EPAY came back do not open it again."""
    [breaker], _ = breakers(clock, 1)
    begun = clock()
    note(breaker, clock, *[UNKNOWN] * 5)
    clock.now += 5
    token = breaker.start_probe()
    note(breaker, clock, PAID, probe=token)
    assert breaker.wait() is None
    for _ in range(30):
        breaker.record(UNKNOWN, begun_at=begun, probe=None)
    assert breaker.wait() is None


def test_an_answer_to_no_probe_closes_nothing(clock: Clock) -> None:
    """It was sent before the breaker opened."""
    [breaker], _ = breakers(clock, 1)
    note(breaker, clock, *[UNKNOWN] * 5)
    note(breaker, clock, PAID)
    assert breaker.wait() == 5
