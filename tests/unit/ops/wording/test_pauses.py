"""What is said of how a pause ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ops.wording.pauses import how_to_lift
from shared.storage.pauses import DATABASE_CHANGED, REFUSED_BY_EPAY, Pause, Scope

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def paused(scope: Scope, code: str | None) -> Pause:
    return Pause(1, scope, NOW, "someone", "why", None, None, None, code)


def test_only_a_changed_database_needs_recover() -> None:
    """`payouts recover` asks EPAY about every payout and stops sending meanwhile."""
    assert how_to_lift(paused(Scope(), DATABASE_CHANGED)) == "`payouts recover` lifts it"
    for code in (None, REFUSED_BY_EPAY, "a code of a later release"):
        assert "recover" not in how_to_lift(paused(Scope("shop@example.com"), code))


def test_a_refusal_by_epay_ends_when_epay_shows_a_payout() -> None:
    words = how_to_lift(paused(Scope("shop@example.com"), REFUSED_BY_EPAY))
    assert words.startswith("it ends by itself when EPAY shows again a payout that it ended")
    assert "`payouts resume --account shop@example.com` lifts it at once" in words


@pytest.mark.parametrize(
    ("scope", "command"),
    [
        (Scope(), "payouts resume"),
        (Scope("o'hara@x.com"), "payouts resume --account 'o'\"'\"'hara@x.com'"),
        (Scope(None, "11", "USD"), "payouts resume --channel 11 --currency USD"),
    ],
)
def test_the_command_has_the_options_of_the_pause(scope: Scope, command: str) -> None:
    assert how_to_lift(paused(scope, None)) == f"`{command}` lifts it"
