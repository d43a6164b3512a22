"""Connections to the gateway that note whether a byte of a request was handed to a socket (law 2).

Inner names of libraries that this module and transport.py rely on; a test checks that they exist:
http.client `HTTPConnection.auto_open`, `send`; urllib3 `HTTPConnection._new_conn`, `_dns_host`,
`proxy`, `HTTPConnectionPool.ConnectionCls`, `conn_kw`; requests `HTTPAdapter.cert_verify`,
`Session.get_redirect_target`. There is no setting to switch it off: without it nothing is proved.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from http.client import HTTPException
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError, ProtocolError

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""It runs on while the machine is suspended, where the system has such a clock."""
_WATCH_INTERVAL = 0.05
_CONNECT_ERRORS = {TimeoutError: "connect timeout", ConnectionRefusedError: "connection refused"}
_LOST = "connection lost or answer garbled"

current = threading.local()
"""`current.exchange` is the one that this thread is in."""


class Exchange:
    """One request and its answer: the deadline, and how far it came."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.clock_gettime(_CLOCK) + seconds
        self.sent: bool | None = None
        """Set before the first byte goes out; None until a connection of ours takes part."""
        self.reason = _LOST
        """Why it ended, should it end here, in a short stable text."""
        self.sock: Any = None
        self._file: Any = None

    def remaining(self) -> float:
        """Return the seconds left; zero or less when the deadline has passed."""
        return self._deadline - time.clock_gettime(_CLOCK)

    def note_unsent(self, reason: str) -> None:
        """Record that nothing was sent so far, and why, unless something was."""
        if not self.sent:
            self.sent, self.reason = False, reason

    def attach(self, sock: Any) -> None:
        """Let the watchdog shut this socket; None ends that.

        A socket's descriptor stays open until the last file made of it is closed. With one here
        the watchdog never shuts a number that was closed and given to another socket.
        """
        if self.sock is not sock:
            if self._file is not None:
                self._file.close()
            self.sock, self._file = sock, sock and sock.makefile("rb", buffering=0)


class Watchdog:
    """Shuts the sockets of overdue exchanges from a thread that runs while any is open.

    A socket's own timeout starts anew with every byte, so it cannot bound a whole exchange.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[Exchange] = set()
        self._running = False

    @contextlib.contextmanager
    def watch(self, exchange: Exchange) -> Iterator[None]:
        """Shut the exchange's socket when it is overdue, and never after this block."""
        with self._lock:
            if not self._running:
                threading.Thread(target=self._run, name="epay-deadline", daemon=True).start()
                self._running = True
            self._open.add(exchange)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(exchange)
            exchange.attach(None)

    def _run(self) -> None:
        while True:
            time.sleep(_WATCH_INTERVAL)
            with self._lock:
                for exchange in self._open:
                    if exchange.sock is not None and exchange.remaining() <= 0:
                        with contextlib.suppress(OSError):  # no longer connected
                            # not TLS's own, which would have the reader go on in plain text
                            socket.socket.shutdown(exchange.sock, socket.SHUT_RDWR)
                if not self._open:
                    self._running = False
                    return


class GatewayConnection(HTTPConnection):
    """A connection that obeys the current exchange's deadline and notes how far it came."""

    auto_open = 0  # http.client would connect again in the middle of a request
    _pieces: list[bytes] | None = None

    def _new_conn(self) -> socket.socket:
        """Look up and connect within the connect timeout, all addresses together."""
        exchange: Exchange = current.exchange
        exchange.note_unsent("name lookup failed")
        end = time.monotonic() + min(exchange.remaining(), self.timeout or 0)
        addresses = _look_up(self._dns_host.strip("[]"), self.port, end - time.monotonic())
        exchange.note_unsent("connect timeout")
        # a dead address must leave time for the ones behind it
        while addresses and (seconds := (end - time.monotonic()) / len(addresses)) > 0:
            try:
                self.sock = socket.create_connection(addresses.pop(0), seconds)
            except OSError as error:
                exchange.note_unsent(_CONNECT_ERRORS.get(type(error), "connection failed"))
                continue
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # it bounds all of a TLS handshake, which the watchdog cannot reach
            self.sock.settimeout(max(0.001, min(exchange.remaining(), self.timeout or 0)))
            exchange.attach(self.sock)
            exchange.note_unsent(f"{'proxy or ' if self.proxy else ''}tls handshake failed")
            return self.sock
        raise NewConnectionError(self, exchange.reason)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send head and body in one write."""
        self._pieces = []
        super().request(*args, **kwargs)
        whole, self._pieces = b"".join(self._pieces), None
        self.send(whole)

    def send(self, data: Any) -> None:
        """Hand bytes to the socket, noting it before the first one of the request."""
        if self._pieces is not None:
            self._pieces.append(data)
            return
        exchange: Exchange = current.exchange
        if not exchange.sent and not data.startswith(b"CONNECT "):  # which only the proxy reads
            self._before_first_byte(exchange)
        try:
            super().send(data)
        except (OSError, HTTPException) as error:
            if exchange.sent:
                exchange.reason = "connection lost while sending"
            # urllib3 would overlook a broken pipe and wait for an answer to half a request
            raise ProtocolError(exchange.reason) from error

    def _before_first_byte(self, exchange: Exchange) -> None:
        if self.sock is None:
            self.connect()
        exchange.note_unsent("connected, nothing sent")
        exchange.attach(self.sock)
        # a process that was asleep must not send when its caller's lease may be over
        if exchange.remaining() <= 0:
            raise TimeoutError
        exchange.sent, exchange.reason = True, _LOST


class GatewayTLSConnection(GatewayConnection, HTTPSConnection):
    """The same over TLS."""


def _look_up(host: str, port: int, seconds: float) -> list[tuple[str, int]]:
    """Call getaddrinfo, which has no time limit of its own, within one."""
    found: Future[list[Any]] = Future()

    def run() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # noqa: BLE001 - raised by result()
            found.set_exception(error)

    threading.Thread(target=run, name="epay-lookup", daemon=True).start()
    return [address[:2] for *_, address in found.result(seconds)]
