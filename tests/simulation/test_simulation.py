"""Worlds in which everything goes wrong, and in which the laws hold all the same."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import first_failure
from tests.simulation.mutations import BREAKS
from tests.simulation.runner import run, shrunk

SEEDS = 700
CAUGHT_WITHIN = 4000


def test_every_law_holds_in_every_world() -> None:
    """A bounded number of worlds; `make simulate SEEDS=100000` runs many more."""
    failing = first_failure(None, range(SEEDS))
    assert failing is None, f"python -m tests.simulation --replay {failing}"


SHOWN_BY = {"11-a-limit-rejects-unseen": 3839}
"""The worlds that show the rarest of them, which are tried first."""


@pytest.mark.parametrize("law", BREAKS)
def test_a_broken_law_is_noticed(law: str) -> None:
    """Each law, broken on purpose, is caught within 4,000 worlds."""
    known = SHOWN_BY.get(law, 0)
    assert first_failure(law, [known, *range(CAUGHT_WITHIN)]) is not None


def test_a_world_is_the_same_every_time() -> None:
    """One seed decides everything: two runs tell one story."""
    from tests.simulation.mutations import broken

    with broken("2-resend-after-read-timeout"):
        seed = next(seed for seed in range(CAUGHT_WITHIN) if run(seed) is not None)
        first, second = run(seed), run(seed)
    assert first == second


def test_a_failing_story_is_shrunk() -> None:
    """The shrunk story still breaks the law, in fewer steps."""
    from tests.simulation.mutations import broken

    with broken("2-resend-after-read-timeout"):
        seed = next(seed for seed in range(CAUGHT_WITHIN) if run(seed) is not None)
        failure = run(seed)
        assert failure is not None
        small = shrunk(failure)
        assert run(recorded=small.choices) is not None
    assert len(small.story) < len(failure.story)
    assert "paid" in small.law
