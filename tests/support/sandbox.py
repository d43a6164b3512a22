"""For the tests of the sandbox: a merchant, its callback receiver, waiting on conditions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import requests

from sandbox.server import Gateway
from shared.epay.callbacks import verify as verify_callback
from shared.epay.signing import NestedForm, sign, verify

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 60) -> T:
    """Wait until the condition is true, return its value; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.005)
    return value


@dataclass
class Merchant:
    """Calls the gateway as a payout worker would, over one keep-alive session."""

    gateway: Gateway
    session: requests.Session
    timeout: float | tuple[float, float] = 60.0

    def call(
        self, name: str, param: dict[str, Any], signature: str | None = None
    ) -> requests.Response:
        if signature is None:
            signature = sign(param, self.gateway.config.api_key, NestedForm.COMMA)
        body = {"param": param, "sign": signature}
        url = f"{self.gateway.base_url}/payoutApi/{name}"
        return self.session.post(url, json=body, timeout=self.timeout)

    def param(
        self, no: str, fault: str = "", notify_url: str = "", **changes: Any
    ) -> dict[str, Any]:
        receiver = {"accountNo": "U123"} | ({"remark": f"sandbox:{fault}"} if fault else {})
        param = {
            "epayAccount": self.gateway.config.account,
            "version": "V2.0.0",
            "category": "EWALLET",
            "merchantOrderNo": no,
            "currency": "USD",
            "channelCode": "11",
            "amount": "10.00",
            "receiverInfo": receiver,
        }
        return param | ({"notifyUrl": notify_url} if notify_url else {}) | changes

    def create(self, no: str, fault: str = "", notify_url: str = "") -> dict[str, Any]:
        param = self.param(no, fault, notify_url)
        response = self.call("createEwalletTransaction", param)
        assert response.status_code == 200
        return response.json()

    def query(self, no: str) -> dict[str, Any]:
        param = {"epayAccount": self.gateway.config.account, "version": "V2.0.0"}
        return self.call("queryTransaction", param | {"merchantOrderNo": no}).json()

    def status(self, no: str) -> str | None:
        """The status of an order as queryTransaction tells it."""
        return (self.query(no)["data"] or {}).get("status")

    def signed_rightly(self, answer: dict[str, Any]) -> bool:
        keys = [self.gateway.config.api_key]
        return verify(answer["data"], answer["sign"], keys, NestedForm.COMMA)

    def ledger(self, no: str) -> dict[str, Any]:
        return self.session.get(f"{self.gateway.root_url}/_ledger/{no}", timeout=60).json()


@dataclass
class Receiver:
    """The merchant's callback address. Answers with `replies` in turn, then with `success`."""

    url: str
    replies: list[tuple[int, str]] = field(default_factory=list)
    received: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    content_types: set[str | None] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, content_type: str | None, body: str) -> tuple[int, str]:
        with self.lock:
            self.content_types.add(content_type)
            fields = dict(parse_qsl(body, keep_blank_values=True))
            self.received.append((time.monotonic(), fields))
            return self.replies.pop(0) if self.replies else (200, "success")

    def of(self, no: str) -> list[dict[str, str]]:
        """The callbacks that came for an order, in order of arrival."""
        with self.lock:
            return [fields for _, fields in self.received if fields["merchantOrderNo"] == no]

    def statuses(self, no: str) -> list[str]:
        return [fields["status"] for fields in self.of(no)]


def signed_rightly(fields: dict[str, str], api_key: str = "TESTKEY123") -> bool:
    """Whether a callback's signature is right."""
    return verify_callback(fields, [api_key], NestedForm.COMMA)


class ReceiverServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    receiver: Receiver


class ReceiverHandler(BaseHTTPRequestHandler):
    server: ReceiverServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status, text = self.server.receiver.take(self.headers["Content-Type"], body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass
