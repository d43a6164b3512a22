"""Where a request comes from, though there be proxies in between."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAX_HOPS = 20
_PORT = re.compile(r"\[(?P<six>[^\]]*)\](:\d+)?|(?P<four>[^:]*):\d+")


class ProxyChain:
    """Reads X-Forwarded-For as far as it was written by proxies that we trust.

    Each proxy appends the address that it saw. So the list is read from the right, and believed
    only while the one who wrote an entry is trusted: the first address that is no trusted proxy is
    the client's. What the client itself wrote stands further left and is never read.
    """

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def client(self, peer: str | None, forwarded_for: str) -> Address | None:
        """The client's address; None when nobody knows it.

        Args:
            peer: who is connected to us; empty on a unix socket, which only a proxy can reach.
            forwarded_for: all X-Forwarded-For headers in their order, joined by commas.
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
    """Whether the address belongs to one of the networks."""
    return address is not None and any(address in network for network in networks)


def bucket(address: Address | None) -> str:
    """Whom a limit counts as one: an IPv4 address, or the /64 that one IPv6 customer has."""
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
