"""Connections that note what law 2 asks for: was a byte of the request handed to a socket."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError, ProtocolError
from urllib3.util.connection import allowed_gai_family
from urllib3.util.ssl_ import create_urllib3_context

from shared.epay.deadline import Attempt, Cord, DeadlinePassedError, current_process

_AddressInfo = tuple[Any, Any, int, str, Any]


class _Current(threading.local):
    """The attempt under way in this thread; connections are used by the thread that took them."""

    attempt: Attempt


current = _Current()


class WatchedConnection(HTTPConnection):
    """A plain connection that reports to the current attempt and obeys its total deadline."""

    # http.client would otherwise connect again by itself in the middle of a request
    auto_open = 0
    _cord: Cord | None = None
    _pieces: list[bytes] | None = None
    """The request so far, while it is being written down."""

    def _new_conn(self) -> socket.socket:
        """Look up and connect within the connect timeout, all addresses together."""
        attempt = current.attempt
        seconds = attempt.remaining()
        if isinstance(self.timeout, (int, float)):
            seconds = min(seconds, self.timeout)
        try:
            sock = self._connect_within(attempt, time.monotonic() + seconds)
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, attempt.reason) from error
        try:
            sock.settimeout(self.timeout)
            self._cord = Cord(sock.fileno())
            current_process().watchdog.hold(attempt, self._cord)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect_within(self, attempt: Attempt, deadline: float) -> socket.socket:
        attempt.reason = "name lookup failed"
        addresses = _look_up(self._dns_host, self.port, deadline - time.monotonic())
        error: OSError = TimeoutError()
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            # a dead address must leave time for the ones behind it
            seconds = (deadline - time.monotonic()) / (len(addresses) - tried)
            if seconds <= 0:
                break
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(seconds)
                sock.connect(address)
            except OSError as failed:
                sock.close()
                error = failed
            else:
                return sock
        attempt.reason = _connect_reason(error)
        raise error

    def connect(self) -> None:
        """Connect; what fails in here leaves the attempt unsent."""
        attempt = current.attempt
        attempt.reason = "no connection"
        super().connect()
        attempt.reason = "connected, nothing sent"

    def close(self) -> None:
        """Close the connection; what is still read from it can be cut off all the same."""
        self._cord = None
        super().close()

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send head and body in one write: they are one packet, or few, and one call."""
        self._pieces = []
        try:
            super().request(*args, **kwargs)
            whole = b"".join(self._pieces)
        finally:
            self._pieces = None
        self.send(whole)

    def send(self, data: Any) -> None:
        """Hand bytes to the socket, noting first that it happens."""
        if self._pieces is not None:
            self._pieces.append(data)
            return
        attempt = current.attempt
        if not attempt.sent:
            self._before_first_byte(attempt)
        try:
            super().send(data)
        except (OSError, http.client.HTTPException) as error:
            attempt.reason = "connection lost while sending"
            # urllib3 would overlook a broken pipe and wait for an answer to half a request
            raise ProtocolError(attempt.reason, error) from error

    def _before_first_byte(self, attempt: Attempt) -> None:
        if self.sock is None:
            self.connect()
        if attempt.cord is None:
            self._cord = self._cord or Cord(self.sock.fileno())
            current_process().watchdog.hold(attempt, self._cord)
        # a process that was asleep must not send when its caller's lease may be over
        if attempt.expired or attempt.remaining() <= 0:
            raise DeadlinePassedError
        attempt.sent = True


class WatchedTLSConnection(WatchedConnection, HTTPSConnection):
    """The same over TLS; a handshake that fails has sent nothing of the request."""

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        current.attempt.reason = "tls handshake failed"
        return sock


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = WatchedConnection


class _WatchedTLSPool(HTTPSConnectionPool):
    ConnectionCls = WatchedTLSConnection


class WatchedAdapter(HTTPAdapter):
    """The pool of connections to the one gateway: no retries, one TLS context for all."""

    def __init__(self, base_url: str, pool_size: int, ca_bundle: str | None) -> None:
        self._ssl_context: ssl.SSLContext | None = None
        if base_url.lower().startswith("https:"):
            # loaded once: the library would read the authorities anew for every connection
            self._ssl_context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
            self._ssl_context.load_verify_locations(ca_bundle or DEFAULT_CA_BUNDLE_PATH)
        super().__init__(pool_connections=1, pool_maxsize=pool_size, max_retries=0)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _WatchedPool,
            "https": _WatchedTLSPool,
        }
        self._base_url = base_url
        self._origin = len("{0.scheme}://{0.netloc}".format(urlsplit(base_url)))
        self._pool = self._new_pool()

    def _new_pool(self) -> HTTPConnectionPool:
        kwargs = {"ssl_context": self._ssl_context} if self._ssl_context else None
        manager: PoolManager = self.poolmanager
        return manager.connection_from_url(self._base_url, pool_kwargs=kwargs)

    def close(self) -> None:
        """Close the idle connections and start with none."""
        super().close()
        self._pool = self._new_pool()

    def get_connection_with_tls_context(self, *_args: Any, **_kwargs: Any) -> HTTPConnectionPool:
        """Return the gateway's pool, whatever is asked for: there is one host."""
        return self._pool

    def request_url(self, request: requests.PreparedRequest, *_args: Any) -> str:
        """Return what stands in the request's first line; there is no proxy to look for."""
        return str(request.url)[self._origin :]

    def cert_verify(self, *_args: Any, **_kwargs: Any) -> None:
        """Do nothing per request: the context verifies, always."""

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """What is read of an answer: its status and its body. No cookies, no guess of encoding."""
        return PlainResponse(req, resp)


class PlainResponse(requests.Response):
    """An answer whose status and raw body are for us to read."""

    def __init__(self, request: requests.PreparedRequest, raw: Any) -> None:
        # not the library's own, which makes a jar for cookies each time
        self._content_consumed = False
        self.status_code = raw.status
        self.raw = raw
        self.request = request


class PlainSession(requests.Session):
    """A session without environment, cookies or redirects."""

    def __init__(self, adapter: WatchedAdapter) -> None:
        super().__init__()
        self._adapter = adapter
        self.trust_env = False
        self.adapters.clear()
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Hand the request to the adapter, and leave the answer unread: that is all there is to it.

        requests' own would look for cookies, redirects and hooks, none of which is for us; it reads
        all of a redirect's body even when told not to follow.
        """
        return self._adapter.send(request, **kwargs)


def _look_up(host: str, port: int, seconds: float) -> list[_AddressInfo]:
    """Call getaddrinfo with a time limit. Raises OSError or UnicodeError."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    else:
        return _addresses(host.strip("[]"), port)
    found: list[list[_AddressInfo]] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            found.append(_addresses(host, port))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="epay-lookup", daemon=True)
    thread.start()
    thread.join(max(seconds, 0))
    if found:
        return found[0]
    raise failed[0] if failed else TimeoutError("name lookup timed out")


def _addresses(host: str, port: int) -> list[_AddressInfo]:
    return list(socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM))


def _connect_reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "connect timeout"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return "connection failed"
