"""One POST to the gateway, and the truth about how it ended (law 2)."""

from __future__ import annotations

import os
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import ReadTimeoutError
from urllib3.util.ssl_ import create_urllib3_context

from shared.domain.gateway import NeverSent, OutcomeUnknown
from shared.epay.config import EpayConfig
from shared.epay.connection import (
    Exchange,
    GatewayConnection,
    GatewayTLSConnection,
    Watchdog,
    current,
)

MAX_BODY = 1024 * 1024
"""Bytes of an answer that are read at most, after decoding."""

_CHUNK = 64 * 1024
_HEADERS = {
    "User-Agent": "epay-payouts",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}


class GatewayAdapter(HTTPAdapter):
    """Gives requests our connections, and one TLS context for all of them."""

    def __init__(self, config: EpayConfig) -> None:
        super().__init__(pool_connections=1, pool_maxsize=config.pool_size)
        self._ssl_context = create_urllib3_context()
        if config.base_url.startswith("https:"):
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
        self.watchdog = Watchdog()

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

    @property
    def session(self) -> GatewaySession:
        """The session of this process, for hooks. Its connections serve `post` alone."""
        session = self._sessions.get(os.getpid())
        return session or self._sessions.setdefault(os.getpid(), GatewaySession(self._config))

    def post(self, path: str, body: bytes) -> bytes | NeverSent | OutcomeUnknown:
        """Return the body of a 200 answer, or why there is none. One request at most, no raise."""
        exchange = current.exchange = Exchange(self._config.total_timeout)
        answer: bytes | NeverSent | OutcomeUnknown
        try:
            session = self.session
            with session.watchdog.watch(exchange):
                answer = self._exchange(session, path, body)
        # whatever a hostile answer makes the HTTP stack raise, what was sent is what counts
        except Exception as error:  # noqa: BLE001
            answer = _failure(exchange, error)
        if exchange.sent and exchange.remaining() <= 0:
            # a shut socket looks like the regular end of an answer without a length
            return OutcomeUnknown("total timeout")
        return answer

    def _exchange(
        self, session: requests.Session, path: str, body: bytes
    ) -> bytes | OutcomeUnknown:
        config = self._config
        timeout = (config.connect_timeout, config.read_timeout)
        with session.post(config.base_url + path, body, stream=True, timeout=timeout) as response:
            if response.status_code != requests.codes.ok:
                return OutcomeUnknown(f"http status {response.status_code}")
            answer = bytearray()
            for piece in response.iter_content(_CHUNK):
                answer += piece
                if len(answer) > MAX_BODY:
                    return OutcomeUnknown("answer is too large")
            return bytes(answer)

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
