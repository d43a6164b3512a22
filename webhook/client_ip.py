"""The IP address of the client, also behind trusted proxies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAX_HOPS = 20
_PORT = re.compile(r"\[(?P<six>[^\]]*)\](:\d+)?|(?P<four>[^:]*):\d+")


class ProxyChain:
    """Reads the part of X-Forwarded-For that trusted proxies wrote.

    Each proxy appends the address of its peer. The list is read from the right, and an entry counts
    only if a trusted proxy wrote it: the first address that is not a trusted proxy is the client's.
    Entries that the client itself may have written are further left and never read.
    """

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def client(self, peer: str | None, forwarded_for: str) -> Address | None:
        """The client's address; None if it is unknown.

        Args:
            peer: the address of the peer; empty on a unix socket, which only a proxy can reach.
            forwarded_for: all X-Forwarded-For headers in order, joined by commas.
        """
        address = _read(peer or "")
        if not self._trusted or not (address is None or self._is_proxy(address)):
            return address
        for hop in reversed(forwarded_for.split(",")[-_MAX_HOPS:]):
            seen = _read(hop)
            if seen is None:
                return address
            address = seen
            if not self._is_proxy(address):
                return address
        return address

    def _is_proxy(self, address: Address) -> bool:
        return is_in(address, self._trusted)


def is_in(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks."""
    return address is not None and any(address in network for network in networks)


def bucket(address: Address | None) -> str:
    """The rate limit key of a sender: its IPv4 address, or the /64 network of an IPv6 address."""
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), 64), strict=False))
    return str(address or "unknown")


def _read(text: str) -> Address | None:
    text = text.strip()
    if found := _PORT.fullmatch(text):
        text = found["six"] or found["four"] or ""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address
