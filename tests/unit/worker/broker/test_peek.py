"""The lease of a message that waits."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from worker.broker.peek import lease_of

LEASE = datetime(2026, 11, 27, 12, tzinfo=UTC)


def message(body: Any) -> str:
    return json.dumps({"body": base64.b64encode(json.dumps(body).encode()).decode()})


def test_lease_of_our_own_message() -> None:
    kwargs = {"payout_id": 1, "lease": LEASE.isoformat()}
    assert lease_of(message([[], kwargs, {}])) == LEASE


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "rubbish",
        "7",
        "[]",
        "{}",
        '{"body": "!"}',
        '{"body": 7}',
        message(7),
        message([[], {"payout_id": 1}, {}]),
        message([[], {"lease": None}, {}]),
        message([[], {"lease": "soon"}, {}]),
        message([[], {"lease": "2026-11-27T12:00:00"}, {}]),
        message([[], [], {}]),
    ],
)
def test_a_message_without_a_lease(text: str | None) -> None:
    """A request by hand or by the producer, or no message at all: none, and no error."""
    assert lease_of(text) is None
