"""The breaker's state machine under a clock of the test's own."""

from __future__ import annotations

import pytest

from shared.domain.circuit_breaker import (
    BreakerRules,
    FailureWindow,
    MemoryBreakerStore,
    OpenState,
    deserialize,
    fail_probe,
    open_breaker,
    release_probe,
    serialize,
    start_probe,
)
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from worker.send_guard.circuit_breaker import CircuitBreaker

RULES = BreakerRules(failures=5, pause=5, longest_pause=60, probe_lasts=30)
WINDOW = 20
PAID = Report("create", "a", "o", "e", "1", None, None)
REFUSED = Refused("2005", "no")
AWAY = NeverSent("connection refused")
UNKNOWN = OutcomeUnknown("read timeout")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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


def heard(*answers: OrderAnswer) -> str | None:
    """What the last of the answers says."""
    evidence, why = FailureWindow(RULES), None
    for answer in answers:
        why = evidence.record(answer)
    return why


@pytest.mark.parametrize("failure", [AWAY, UNKNOWN])
def test_opens_after_so_many_in_a_row(failure: OrderAnswer) -> None:
    """Five, and not four; a refusal is an answer."""
    assert heard(*[failure] * 4) is None
    assert heard(*[failure] * 5) == "5 creates in a row without an answer of EPAY"
    for answered in (PAID, REFUSED):
        assert heard(*[failure] * 4, answered, *[failure] * 4) is None


def test_opens_when_half_of_the_last_end_unknown() -> None:
    """Never five in a row, and yet half of twenty; what never left is not unknown."""
    assert heard(*[UNKNOWN, PAID] * (WINDOW // 2 - 1), UNKNOWN) is None, "19 are too few to tell"
    why = heard(*[UNKNOWN, PAID] * (WINDOW // 2))
    assert why == "10 of the last 20 creates ended with an unknown outcome"
    assert heard(*[AWAY, PAID] * WINDOW) is None
    assert heard(*[UNKNOWN, PAID, PAID] * WINDOW) is None


def test_each_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    now = 0.0
    standing = open_breaker(now, "why", RULES)
    pauses = []
    for nth in range(6):
        pauses.append(standing.pause)
        assert start_probe(standing, "t", standing.retry_at - 0.01, RULES) is None
        now = standing.retry_at
        probing = start_probe(standing, f"t{nth}", now, RULES)
        assert probing is not None
        after = fail_probe(probing, f"t{nth}", now, RULES)
        assert after is not None
        standing = after
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert standing.probes == 6
    assert standing.since == 0


def test_one_probe_at_a_time() -> None:
    """Another waits until the first is answered, given back, or long overdue."""
    standing = open_breaker(0, "why", RULES)
    first = start_probe(standing, "first", 5, RULES)
    assert first is not None
    assert start_probe(first, "second", 34.9, RULES) is None
    assert 0 < first.wait(6) <= 5
    late = start_probe(first, "second", 35, RULES)
    assert late is not None
    assert fail_probe(late, "first", 36, RULES) is None, "the first is no longer the probe"
    back = release_probe(first, "first")
    assert back is not None
    assert back.probes == 0
    assert start_probe(back, "second", 6, RULES) is not None


def test_what_redis_keeps_is_what_was_written() -> None:
    standing = start_probe(open_breaker(1795456789.123456, "why", RULES), "t", 1795456799.5, RULES)
    assert deserialize(serialize(standing)) == standing
    assert serialize(deserialize(serialize(standing))) == serialize(standing)
    assert deserialize(serialize(None)) is None
    for rubbish in ("rubbish", "[]", '{"other": 1}', "7"):
        assert deserialize(rubbish) is None


@pytest.fixture
def clock() -> Clock:
    return Clock()


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
