"""Free ports."""

from __future__ import annotations

import socket

from devstack.ports import free_port


def test_free_port_can_be_bound() -> None:
    """A free port is one that can be listened on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
