"""One POST to the gateway, and the truth about whether a byte of it was handed to a socket (law 2).

Inner names of libraries that this module relies on; a test checks that they exist: http.client
`HTTPConnection.auto_open`, `send`; urllib3 `HTTPConnection._new_conn`, `_dns_host`, `proxy`,
`is_connected`, `HTTPConnectionPool.ConnectionCls`, `conn_kw`; requests `HTTPAdapter.cert_verify`,
`Session.get_redirect_target`. There is no setting to switch it off: without it nothing is proved.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError
from urllib3.util.ssl_ import create_urllib3_context

from shared.domain.gateway import NeverSent, OutcomeUnknown, Refused
from shared.epay.config import EpayConfig

MAX_BODY = 1024 * 1024
"""Bytes of an answer that are read at most, after decoding."""

_CHUNK = 64 * 1024
_HEADERS = {
    "User-Agent": "epay-payouts",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""It runs on while the machine is suspended, where the system has such a clock."""
_LONGEST_WAIT = 1.0
"""Seconds of one wait for bytes, which does not count a suspension; then the clock is read."""
_CONNECT_ERRORS = {TimeoutError: "connect timeout", ConnectionRefusedError: "connection refused"}
_LOST = "connection lost or answer garbled"
TOO_LATE = "the lease was over before anything was sent"

_current = threading.local()
"""`_current.exchange` is the one that this thread is in."""


class Exchange:
    """One request and its answer: the deadline, and how far it came."""

    def __init__(
        self,
        seconds: float,
        reusable_since: float = -math.inf,
        is_late: Callable[[], bool] = lambda: False,
    ) -> None:
        self._deadline = time.clock_gettime(_CLOCK) + seconds
        self.reusable_since = reusable_since
        """A pooled connection whose last byte came before this moment is not used again."""
        self.is_late = is_late
        """Asked right before the first byte: whether it is too late to send, by the caller."""
        self.sent: bool | None = None
        """Set before the first byte goes out; None until a connection of ours takes part."""
        self.reason = _LOST
        """Why it ended, should it end here, in a short stable text."""

    def remaining(self) -> float:
        """Return the seconds left; zero or less when the deadline has passed."""
        return self._deadline - time.clock_gettime(_CLOCK)

    def note_unsent(self, reason: str) -> None:
        """Record that nothing was sent so far, and why, unless something was."""
        if not self.sent:
            self.sent, self.reason = False, reason

    def limit(self, sock: socket.socket, seconds: float | None) -> None:
        """Set the socket's timeout, but to no more than is left."""
        sock.settimeout(max(0.001, min(self.remaining(), seconds or 0)))


class _DeadlineSocket(socket.socket):
    """A socket whose reads and writes end with the exchange.

    A socket's own timeout starts anew with every byte, so it cannot bound a whole exchange.
    """

    heard_at = -math.inf
    """When the last byte came."""

    def recv_into(self, *args: Any) -> int:
        """Receive within the socket's timeout and the exchange's deadline."""
        exchange: Exchange = _current.exchange
        timeout = self.gettimeout() or 0
        end = time.monotonic() + timeout
        try:
            while (left := min(exchange.remaining(), end - time.monotonic())) > 0:
                self.settimeout(min(left, _LONGEST_WAIT))
                with contextlib.suppress(TimeoutError):
                    count = super().recv_into(*args)
                    self.heard_at = time.clock_gettime(_CLOCK)
                    return count
            raise TimeoutError
        finally:
            self.settimeout(timeout)

    def send(self, *args: Any) -> int:
        """Send; TLS splits a large request into several of these."""
        _current.exchange.limit(self, self.gettimeout())
        return super().send(*args)


class _DeadlineTLSSocket(_DeadlineSocket, ssl.SSLSocket):
    """The same under TLS; the socket's timeout bounds all of a handshake."""


class GatewayConnection(HTTPConnection):
    """A connection that obeys the current exchange's deadline and notes how far it came."""

    auto_open = 0  # http.client would connect again in the middle of a request
    _pieces: list[bytes] | None = None

    def _new_conn(self) -> socket.socket:
        """Look up and connect within the connect timeout, all addresses together."""
        exchange: Exchange = _current.exchange
        exchange.note_unsent("name lookup failed")
        end = time.monotonic() + min(exchange.remaining(), self.timeout or 0)
        addresses = _look_up(self._dns_host.strip("[]"), self.port, end - time.monotonic())
        exchange.note_unsent("connect timeout")
        # a dead address must leave time for the ones behind it
        while addresses and (seconds := (end - time.monotonic()) / len(addresses)) > 0:
            try:
                connected = socket.create_connection(addresses.pop(0), seconds)
            except OSError as error:
                exchange.note_unsent(_CONNECT_ERRORS.get(type(error), "connection failed"))
                continue
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = _DeadlineSocket(fileno=connected.detach())
            exchange.limit(self.sock, self.timeout)
            exchange.note_unsent(f"{'proxy or ' if self.proxy else ''}tls handshake failed")
            return self.sock
        raise NewConnectionError(self, exchange.reason)

    @property
    def is_connected(self) -> bool:
        """Whether the pool may use this connection again; it closes and reconnects it if not.

        A network that forgot an idle connection tells nobody: only its age shows it.
        """
        heard_at = getattr(self.sock, "heard_at", -math.inf)
        return bool(heard_at > _current.exchange.reusable_since and super().is_connected)

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
        exchange: Exchange = _current.exchange
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
        exchange.limit(self.sock, self.timeout)
        # a process that was asleep must not send when its caller's lease may be over
        if exchange.remaining() <= 0:
            raise TimeoutError
        if exchange.is_late():
            exchange.note_unsent(TOO_LATE)
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


class GatewayAdapter(HTTPAdapter):
    """Gives requests our connections, and one TLS context for all of them."""

    def __init__(self, config: EpayConfig) -> None:
        super().__init__(pool_connections=1, pool_maxsize=config.pool_size)
        self._ssl_context = create_urllib3_context()
        self._ssl_context.sslsocket_class = _DeadlineTLSSocket
        if config.base_url.lower().startswith("https:"):
            self._ssl_context.load_verify_locations(config.ca_bundle or DEFAULT_CA_BUNDLE_PATH)

    def cert_verify(self, conn: Any, *_args: Any, **_kwargs: Any) -> None:
        """Equip the pool; requests' own has the CA bundle loaded anew for each connection."""
        if conn.scheme == "https":
            conn.ConnectionCls = GatewayTLSConnection
            conn.conn_kw["ssl_context"] = self._ssl_context
        else:
            conn.ConnectionCls = GatewayConnection


class GatewaySession(requests.Session):
    """The connections of one process: no environment, cookies or redirects."""

    def __init__(self, config: EpayConfig) -> None:
        super().__init__()
        adapter = GatewayAdapter(config)
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self.trust_env = False
        self.proxies = {"all": config.proxy_url} if config.proxy_url else {}
        self.headers.clear()
        self.headers.update(_HEADERS)
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none: requests reads the body of a redirect even when told not to follow."""


class Transport:
    """Posts bodies to one gateway. Safe for many threads, and in a child after a fork.

    Raises OSError when `ca_bundle` cannot be read.
    """

    def __init__(self, config: EpayConfig) -> None:
        self._config = config
        # A child of a fork has its own: on a shared connection both would read each other's
        # answers. The parent's stays here: closing it could wait for a lock held by its threads.
        self._sessions = {os.getpid(): GatewaySession(config)}
        self._lost_at = -math.inf
        """When a request last went out and no answer came: what was idle then may be dead too."""

    @property
    def session(self) -> GatewaySession:
        """The session of this process, for hooks. Its connections serve `post` alone."""
        session = self._sessions.get(os.getpid())
        return session or self._sessions.setdefault(os.getpid(), GatewaySession(self._config))

    def post(
        self,
        path: str,
        body: bytes,
        *,
        new_connection: bool = False,
        is_late: Callable[[], bool] = lambda: False,
        read_refusal: Callable[[bytes], Refused | None] | None = None,
    ) -> bytes | NeverSent | OutcomeUnknown | Refused:
        """Return the body of a 200 answer, or why there is none. One request at most, no raise.

        Args:
            new_connection: use no connection of the pool.
            is_late: asked right before the first byte; nothing is sent if it is true.
            read_refusal: finds a refusal in an answer of HTTP status 400 or more; not for a create.
        """
        idle_since = time.clock_gettime(_CLOCK) - self._config.idle_seconds
        reusable_since = math.inf if new_connection else max(idle_since, self._lost_at)
        exchange = Exchange(self._config.total_timeout, reusable_since, is_late)
        _current.exchange = exchange
        answer: bytes | NeverSent | OutcomeUnknown | Refused
        try:
            answer = self._exchange(path, body, read_refusal)
        # whatever a hostile answer makes the HTTP stack raise, what was sent is what counts
        except Exception as error:  # noqa: BLE001
            answer = _failure(exchange, error)
            if exchange.sent:
                self._lost_at = time.clock_gettime(_CLOCK)
        if exchange.sent and exchange.remaining() <= 0:
            return OutcomeUnknown("total timeout")
        return answer

    def _exchange(
        self, path: str, body: bytes, read_refusal: Callable[[bytes], Refused | None] | None
    ) -> bytes | OutcomeUnknown | Refused:
        url = self._config.base_url + path
        timeout = (self._config.connect_timeout, self._config.read_timeout)
        with self.session.post(url, body, stream=True, timeout=timeout) as response:
            is_ok = response.status_code == requests.codes.ok
            not_ok = OutcomeUnknown(f"http status {response.status_code}")
            if response.status_code < requests.codes.bad_request:
                read_refusal = None  # the body of a redirect may never end
            if not is_ok and read_refusal is None:
                return not_ok
            answer = bytearray()
            for piece in response.iter_content(_CHUNK):
                answer += piece
                if len(answer) > MAX_BODY:
                    return OutcomeUnknown("answer is too large") if is_ok else not_ok
            if is_ok or read_refusal is None:
                return bytes(answer)
            return read_refusal(bytes(answer)) or not_ok

    def close(self) -> None:
        """Close the idle connections. A later call opens new ones."""
        if session := self._sessions.get(os.getpid()):
            session.close()


def _failure(exchange: Exchange, error: Exception) -> NeverSent | OutcomeUnknown:
    """Say what an exception means: the fact decides the class, the exception words the reason."""
    if exchange.sent is False:
        late = exchange.remaining() <= 0
        return NeverSent("total timeout" if late else exchange.reason)
    if isinstance(error.__context__ or error, (requests.ReadTimeout, ReadTimeoutError)):
        return OutcomeUnknown("read timeout")
    return OutcomeUnknown(exchange.reason)
