"""Networks whose callbacks are read, and the limit for each sender."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.webhook import FORM, PATH, RecordingBroker, app, fields, signed

EPAY, OTHER = "203.0.113.7", "198.51.100.9"


def status(redis_url: str, peer: str, forwarded: str = "", **changes: Any) -> tuple[int, int]:
    broker = RecordingBroker()
    answer = (
        app(redis_url, broker, **changes)
        .test_client()
        .post(
            PATH,
            data=signed(),
            content_type=FORM,
            headers={"X-Forwarded-For": forwarded} if forwarded else {},
            environ_overrides={"REMOTE_ADDR": peer},
        )
    )
    return answer.status_code, len(broker.taken)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        (EPAY, "", (200, 1)),
        (OTHER, "", (403, 0)),
        (OTHER, EPAY, (403, 0)),
        ("10.0.0.1", EPAY, (200, 1)),
        ("10.0.0.1", f"{EPAY}, {OTHER}", (403, 0)),
        ("10.0.0.1", "", (403, 0)),
        ("2001:db8::7", "", (200, 1)),
    ],
)
def test_only_named_networks_are_read(
    redis_url: str, peer: str, forwarded: str, expected: tuple[int, int]
) -> None:
    """403 for the rest, though signed, and though it claims to come from there."""
    named = {
        "callback_allowed_networks": "203.0.113.0/24, 2001:db8::/64",
        "trusted_proxies": "10.0.0.0/8",
    }
    assert status(redis_url, peer, forwarded, **named) == expected


def test_without_a_list_everybody_is_read(redis_url: str) -> None:
    """Off by default: EPAY does not document its addresses."""
    assert status(redis_url, OTHER) == (200, 1)


def test_the_limit_is_the_clients_not_the_proxys(redis_url: str) -> None:
    """Behind a trusted proxy each sender has a limit of its own; a spoofed header buys none."""
    client = app(
        redis_url, RecordingBroker(), callback_rate_limit="1/hour", trusted_proxies="10.0.0.0/8"
    ).test_client()

    def post(forwarded: str) -> int:
        return client.post(
            PATH,
            data=fields(sign="x"),
            content_type=FORM,
            headers={"X-Forwarded-For": forwarded},
            environ_overrides={"REMOTE_ADDR": "10.0.0.1"},
        ).status_code

    assert [post(OTHER), post(OTHER), post(EPAY)] == [403, 429, 403]
    assert [post(f"192.0.2.{number}, {OTHER}") for number in range(3)] == [429] * 3
