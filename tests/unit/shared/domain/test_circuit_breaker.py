"""The state machine of the circuit breaker."""

from __future__ import annotations

import pytest

from shared.domain.circuit_breaker import (
    BreakerRules,
    FailureWindow,
    deserialize,
    fail_probe,
    open_breaker,
    release_probe,
    serialize,
    start_probe,
)
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report

RULES = BreakerRules(failures=5, pause=5, longest_pause=60, probe_lasts=30)
WINDOW = 20
PAID = Report("create", "a", "o", "e", "1", None, None)
REFUSED = Refused("2005", "no")
AWAY = NeverSent("connection refused")
UNKNOWN = OutcomeUnknown("read timeout")


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


def test_state_of_the_release_before_is_read_and_written() -> None:
    """Workers of two releases share the key during an upgrade, and swap by comparing the text."""
    stored = (
        '{"pause": 5.0, "probe": null, "probe_until": 0.0, "probes": 0, "retry_at": 5.0, '
        '"since": 0.0, "why": "EPAY is away"}'
    )
    standing = deserialize(stored)
    assert standing is not None
    assert standing.reason == "EPAY is away"
    assert serialize(standing) == stored
