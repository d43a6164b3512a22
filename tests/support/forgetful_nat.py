"""A NAT on the way to a gateway: it passes connections on, and can forget those that it has."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_CHUNK = 65_536


class Nat:
    """Listens on a port of 127.0.0.1 and passes everything on to the gateway's port."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._sockets: list[socket.socket] = []
        self._forgotten: set[socket.socket] = set()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.swallowed = 0
        """Bytes that came on a connection that was forgotten: nobody is told."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The gateway's base URL, by way of here."""
        return f"http://127.0.0.1:{self._door.getsockname()[1]}/capi/openapi"

    def forget(self) -> None:
        """Drop what comes on the connections made so far, both ways, without a word."""
        self._forgotten.update(self._sockets)

    def close(self) -> None:
        """Close all connections."""
        for sock in [self._door, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self.connections += 1
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    thread = threading.Thread(target=self._pass, args=(source, target), daemon=True)
                    thread.start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if source in self._forgotten:
                    self.swallowed += len(data)
                else:
                    target.sendall(data)
        if source not in self._forgotten:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def nat_before(port: int) -> Iterator[Nat]:
    """A NAT before the gateway at that port."""
    with contextlib.closing(Nat(port)) as nat:
        yield nat
