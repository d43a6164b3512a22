"""The time of day."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.clock import utcnow


def test_now_is_aware_and_utc() -> None:
    """A naive time would be compared with an aware one somewhere, and fail there."""
    before = datetime.now(UTC)
    now = utcnow()
    assert now.tzinfo is UTC
    assert before <= now <= datetime.now(UTC)
