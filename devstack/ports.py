"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import socket


def free_port(preferred: int = 0) -> int:
    """The preferred port of 127.0.0.1 if it is free, else another free port.

    Another program may take it before the caller binds it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
