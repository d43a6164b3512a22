"""A gateway that costs next to nothing: right, signed answers after a fixed time, over real HTTP.

It remembers no order: every create is answered "confirmed", every query with the status it was
started with. `GET /count` says how many of each were answered.
`python -m bench.stub_gateway` runs it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.payloads import (
    ACCOUNT,
    AMOUNT,
    API_KEY,
    CREATE,
    CURRENCY,
    FEE,
    NESTED,
    QUERY,
    VERSION,
)
from shared.epay.signing import sign

HOST = "127.0.0.1"
BASE_PATH = "/capi/openapi"

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_END = b"\r\n\r\n"


def answer(call: str, order_no: str, status: str) -> bytes:
    """The body of a positive answer to a create or a query (epay-gateway sections 3.1 and 3.2)."""
    data = {
        "category": "EWALLET",
        "merchantOrderNo": order_no,
        "epayOrderNo": f"2311{order_no}",
        "amount": AMOUNT,
        "receiveAmount": AMOUNT,
        "receiveCurrency": CURRENCY,
        "rate": "1.000000",
        "rateMode": "0",
    }
    if call == CREATE:
        data |= {"status": "1", "settlementCurrency": CURRENCY, "payerFee": FEE}
    else:
        data |= {"status": status, "currency": CURRENCY, "fee": FEE}
    envelope = {
        "sign": sign(data, API_KEY, NESTED),
        "epayAccount": ACCOUNT,
        "version": VERSION,
        "code": 1,
        "message": "success",
        "data": data,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


@dataclass
class Harness:
    """What all connections share."""

    latency: float
    query_status: str
    answered: dict[str, int] = field(default_factory=lambda: {CREATE: 0, QUERY: 0})

    def reply(self, path: str, body: bytes) -> bytes:
        """The answer to a call that came in complete."""
        order_no = json.loads(body)["param"]["merchantOrderNo"]
        return _response(answer(path, order_no, self.query_status))


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time, as HTTP/1.1 clients do it."""

    def __init__(self, harness: Harness) -> None:
        self._desk = harness
        self._received = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while (end := self._received.find(_END)) >= 0:
            length = _LENGTH.search(self._received, 0, end)
            whole = end + len(_END) + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            head, body = self._received[:end], self._received[end + len(_END) : whole]
            self._received = self._received[whole:]
            self._serve(head.split(b" ", 2)[1].decode(), body)

    def _serve(self, target: str, body: bytes) -> None:
        path = target.removeprefix(BASE_PATH)
        harness = self._desk
        if path in harness.answered:
            reply = harness.reply(path, body)
            asyncio.get_running_loop().call_later(harness.latency, self._send, path, reply)
        elif path == "/count":
            count = {"create": harness.answered[CREATE], "query": harness.answered[QUERY]}
            self._transport.write(_response(json.dumps(count).encode()))
        else:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _send(self, path: str, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)
            self._desk.answered[path] += 1


def _response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + _END + body


async def serve(port: int, latency: float, query_status: str) -> asyncio.Server:
    """Start it on 127.0.0.1; the port may be 0 for a free one."""
    harness = Harness(latency, query_status)
    loop = asyncio.get_running_loop()
    return await loop.create_server(partial(Connection, harness), HOST, port, backlog=1024)


async def _forever(port: int, latency: float, query_status: str) -> None:
    async with await serve(port, latency, query_status) as server:
        await server.serve_forever()


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.stub_gateway", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--query-status", default="1", help="EPAY's code that queries report")
    given = parser.parse_args()
    asyncio.run(_forever(given.port, given.latency, given.query_status))


if __name__ == "__main__":
    main()
