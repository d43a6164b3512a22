"""A gateway on the loopback that does exactly what a test tells it, down to the bytes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from shared.domain.gateway import CreateOrder
from shared.epay.client import EpayClient
from shared.epay.signing import NestedForm, sign

KEY = "TESTKEY123"

Handler = Callable[["Gateway", socket.socket, dict[str, Any]], bytes | None]


class Gateway:
    """A raw server: `handler` gets the socket and the request, and returns the bytes to send."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.context = context
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.port}/capi/openapi"

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
                stack.callback(sock.close)
            while (request := self._receive(sock)) is not None:
                answer = self.handler(self, sock, request)
                if answer is None:
                    return
                sock.sendall(answer)

    def _receive(self, sock: socket.socket) -> dict[str, Any] | None:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = sock.recv(65536)
            if not piece:
                return None
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        self.heads.append(head.decode())
        length = int(fields["Content-Length"])
        if length > 1_000_000:  # for the tests of a request that is cut off
            return {}
        while len(body) < length:
            piece = sock.recv(65536)
            if not piece:
                return None
            body += piece
        self.requests.append(json.loads(body))
        return self.requests[-1]

    def close(self) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
        for sock in self._sockets:
            sock.close()


def http_answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """One HTTP answer with a length."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def envelope(data: Any, signature: str | None = None, **changes: Any) -> bytes:
    """A well-formed positive answer around `data`, rightly signed unless told otherwise."""
    if signature is None:
        signature = sign(data, KEY, NestedForm.COMMA) if data else ""
    whole = {
        "sign": signature,
        "epayAccount": "test2020@epay.com",
        "version": "V2.0.0",
        "code": 1,
        "message": "success",
        "data": data,
    }
    return json.dumps({**whole, **changes}).encode()


def order_data(**changes: Any) -> dict[str, Any]:
    """The `data` of section 3.1's answer."""
    return {
        "category": "EWALLET",
        "merchantOrderNo": "0702001122",
        "epayOrderNo": "231151598560704599183360",
        "status": "1",
        "amount": "10",
        "settlementCurrency": "USD",
        "receiveAmount": "10.0",
        "receiveCurrency": "USD",
        "rate": "1.000000",
        "payerFee": "2.1",
        "extendFields": '{"test":"test"}',
        "rateMode": None,
        **changes,
    }


def reset(sock: socket.socket) -> None:
    """End a connection with a reset instead of a regular end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


MakeGateway = Callable[..., Gateway]
MakeClient = Callable[..., EpayClient]
"""The fixtures `gateway` and `client_for`."""

ORDER = CreateOrder("0702001122", "0.01", "USD", "11", "41111810111111111111")
HUGE = CreateOrder("1", "1", "USD", "11", "1", extend_fields={"a": "x" * 16_000_000})
GOOD = http_answer(envelope(order_data()))
LONG = 120.0
"""Seconds that the other side would take."""
SOON = LONG / 4
"""Seconds: what ends sooner did not wait for the other side, however busy the machine."""


def silence(server: Gateway) -> None:
    """Say nothing for longer than the client waits."""
    server.stopped.wait(LONG)


def allow(client: EpayClient, seconds: float) -> None:
    """Another total timeout from the next request on."""
    transport = client._transport
    transport._config = replace(transport._config, total_timeout=seconds)


def drip(server: Gateway, sock: socket.socket) -> None:
    """One byte at a time, for as long as somebody listens."""
    while not server.stopped.wait(0.05):
        sock.sendall(b"x")
