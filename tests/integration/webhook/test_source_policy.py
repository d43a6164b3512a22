"""Who is asking: networks that are let in, and proxies that are believed."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.support.webhook import FORM, PATH, RecordingBroker, app, fields, signed
from webhook.client_ip import ProxyChain, bucket

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8:1::/48")))
EPAY, OTHER = "203.0.113.7", "198.51.100.9"


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ((), EPAY, "", EPAY),
        ((), EPAY, OTHER, EPAY),
        ((), "10.0.0.1", EPAY, "10.0.0.1"),
        (PROXIES, EPAY, OTHER, EPAY),
        (PROXIES, "10.0.0.1", EPAY, EPAY),
        (PROXIES, "10.0.0.1", f"{OTHER}, {EPAY}", EPAY),
        (PROXIES, "10.0.0.1", f"{OTHER},{EPAY} , 10.9.9.9", EPAY),
        (PROXIES, "10.0.0.1", f"10.1.1.1, {EPAY}, 10.9.9.9", EPAY),
        (PROXIES, "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (PROXIES, "10.0.0.1", "", "10.0.0.1"),
        (PROXIES, "10.0.0.1", f"{EPAY}, rubbish", "10.0.0.1"),
        (PROXIES, "10.0.0.1", f"{EPAY}, , 10.0.0.2", "10.0.0.2"),
        (PROXIES, "10.0.0.1", f"{EPAY}:4711", EPAY),
        (PROXIES, "2001:db8:1::5", "[2001:db8:2::1]:4711", "2001:db8:2::1"),
        (PROXIES, "2001:db8:1::5", "[2001:db8:2::1]", "2001:db8:2::1"),
        (PROXIES, "::ffff:10.0.0.1", f"::ffff:{EPAY}", EPAY),
        (PROXIES, "", EPAY, EPAY),
        (PROXIES, None, f"{OTHER}, {EPAY}", EPAY),
        ((), "", EPAY, None),
        ((), "unix:", "", None),
    ],
)
def test_the_chain_is_read_from_the_right(
    trusted: Any, peer: str | None, forwarded: str, client: str | None
) -> None:
    """Each entry is believed only as far as the one who wrote it."""
    found = ProxyChain(trusted).client(peer, forwarded)
    assert found == (ip_address(client) if client else None)


@examples(max_examples=300, deadline=None)
@given(
    spoofed=st.lists(st.one_of(st.ip_addresses().map(str), st.text(max_size=20)), max_size=30),
    inner=st.lists(st.integers(1, 254).map("10.0.0.{}".format), max_size=5),
)
def test_what_a_client_writes_never_counts(spoofed: list[str], inner: list[str]) -> None:
    """Whatever stands left of the address that a trusted proxy saw."""
    header = ",".join([*spoofed, EPAY, *inner])
    assert ProxyChain(PROXIES).client("10.0.0.1", header) == ip_address(EPAY)
    assert ProxyChain(PROXIES).client(EPAY, ",".join(spoofed)) == ip_address(EPAY)


def test_a_limit_counts_a_customer() -> None:
    """An IPv4 address; of IPv6 the /64, of which anybody has 2**64 addresses."""
    assert bucket(ip_address(EPAY)) == EPAY
    one, two = ip_address("2001:db8::1"), ip_address("2001:db8::ffff:2")
    assert bucket(one) == bucket(two) == "2001:db8::/64"
    assert bucket(None) == "unknown"


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
