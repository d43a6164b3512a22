"""One POST to the gateway, and the truth about how it ended (law 2)."""

from __future__ import annotations

import requests
import urllib3
from urllib3.exceptions import ReadTimeoutError

from shared.domain.gateway import NeverSent, OutcomeUnknown
from shared.epay.config import EpayConfig
from shared.epay.deadline import Attempt, current_process
from shared.epay.wire import PlainSession, WatchedAdapter, current

MAX_BODY = 1024 * 1024
"""Bytes of an answer that are read at most, after decoding."""

_HTTP_OK = 200
_HEADERS = {
    "User-Agent": "epay-payouts",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}


class Transport:
    """Posts bodies to one gateway. Safe for many threads, and in a child after a fork.

    Raises OSError when `ca_bundle` cannot be read.
    """

    def __init__(self, config: EpayConfig) -> None:
        self._config = config
        self._timeout = urllib3.Timeout(connect=config.connect_timeout, read=config.read_timeout)
        self._owner = current_process()
        self._session = self._new_session()
        self._left_behind: list[PlainSession] = []

    def _new_session(self) -> PlainSession:
        config = self._config
        return PlainSession(WatchedAdapter(config.base_url, config.pool_size, config.ca_bundle))

    def _own_session(self) -> PlainSession:
        """Return this process's session: sharers of one would read each other's answers."""
        process = current_process()
        if self._owner is not process:
            with process.lock:
                if self._owner is not process:
                    # kept: tidying it up could wait for a lock that a thread of the parent held
                    self._left_behind.append(self._session)
                    self._session = self._new_session()
                    self._owner = process
        return self._session

    def post(self, path: str, body: bytes) -> bytes | NeverSent | OutcomeUnknown:
        """Return the body of a 200 answer, or why there is none. One request at most, no raise."""
        watchdog = current_process().watchdog
        attempt = watchdog.begin(self._config.total_timeout)
        current.attempt = attempt
        answer: bytes | NeverSent | OutcomeUnknown
        try:
            answer = self._exchange(self._request(path, body))
        # whatever a hostile answer makes the HTTP stack raise, what was sent is what counts
        except Exception as error:  # noqa: BLE001
            answer = _failure(attempt, error)
        finally:
            watchdog.end(attempt)
        if attempt.expired and attempt.sent:
            # a shut socket looks like the regular end of an answer without a length
            return OutcomeUnknown("total timeout")
        return answer

    def _request(self, path: str, body: bytes) -> requests.PreparedRequest:
        request = requests.PreparedRequest()
        request.method = "POST"
        request.url = self._config.base_url + path
        # a plain dict of known names: nothing is looked up in it by another spelling
        request.headers = {**_HEADERS, "Content-Length": str(len(body))}  # type: ignore[assignment]
        request.body = body
        return request

    def _exchange(self, request: requests.PreparedRequest) -> bytes | OutcomeUnknown:
        session = self._own_session()
        response = session.send(request, stream=True, timeout=self._timeout, proxies={})
        try:
            if response.status_code != _HTTP_OK:
                return OutcomeUnknown(f"http status {response.status_code}")
            return _read(response.raw)
        finally:
            response.close()

    def close(self) -> None:
        """Close the idle connections. A later call opens new ones."""
        if self._owner is current_process():
            self._session.close()


def _read(raw: urllib3.BaseHTTPResponse) -> bytes | OutcomeUnknown:
    pieces: list[bytes] = []
    size = 0
    while piece := raw.read(MAX_BODY + 1 - size, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BODY:
            return OutcomeUnknown("answer is too large")
        if _has_all(raw):
            break
    return b"".join(pieces)


def _has_all(raw: urllib3.BaseHTTPResponse) -> bool:
    """Whether all that was announced has come, so that nothing need be waited for."""
    remaining = raw.length_remaining if isinstance(raw, urllib3.HTTPResponse) else None
    return remaining == 0 and "content-encoding" not in raw.headers


def _failure(attempt: Attempt, error: Exception) -> NeverSent | OutcomeUnknown:
    """Say what an exception means: the fact decides the class, the exception words the reason."""
    late = attempt.expired or attempt.remaining() <= 0
    if not attempt.sent:
        return NeverSent("total timeout" if late else attempt.reason)
    if attempt.reason == "connection lost while sending":
        return OutcomeUnknown(attempt.reason)
    if isinstance(error, (requests.Timeout, ReadTimeoutError)):
        return OutcomeUnknown("read timeout")
    return OutcomeUnknown("connection lost or answer garbled")
