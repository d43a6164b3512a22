"""The client's address behind trusted proxies."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from webhook.client_ip import ProxyChain, bucket, is_in

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


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.255.0.1", True), ("11.0.0.1", False), ("2001:db8:1::9", True), ("2001:db8:2::9", False)],
)
def test_address_is_in_a_network(address: str, expected: bool) -> None:
    """Of its own IP version; an unknown address is in none."""
    assert is_in(ip_address(address), PROXIES) is expected
    assert not is_in(ip_address(address), ())
    assert not is_in(None, PROXIES)


def test_chain_is_read_for_twenty_hops_at_most() -> None:
    """A header of any length costs little."""
    chain = ProxyChain(PROXIES)
    assert chain.client("10.0.0.1", ",".join([EPAY, *["10.0.0.2"] * 19])) == ip_address(EPAY)
    assert chain.client("10.0.0.1", ",".join([EPAY, *["10.0.0.2"] * 20])) == ip_address("10.0.0.2")
