"""Signed callbacks at a fixed rate, however long each of them waits for its answer."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.security.load_generator import HOST
from tests.support.webhook import FORM, PATH, signed

_SENDERS = 64
_TIMEOUT_SECONDS = 30


@dataclass
class Signed:
    """What became of the callbacks that EPAY signed."""

    accepted: int = 0
    others: Counter[int] = field(default_factory=Counter)
    """Statuses of the answers that were no `success`; 0 is no answer."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from when each was due to its answer."""

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the requests stayed below."""
        ranked = sorted(self.latencies)
        return ranked[min(len(ranked) - 1, int(len(ranked) * share))] * 1000


def send_signed(port: int, rate: float, seconds: float) -> Signed:
    """Send them, each on a connection of its own."""
    sent, begun = Signed(), time.monotonic()

    def send(number: int) -> tuple[int, bytes, float]:
        body = urlencode(signed(merchantOrderNo=f"true-{number}"))
        try:
            status, said = ask(port, "POST", PATH, body)
        except (OSError, http.client.HTTPException):
            status, said = 0, b""
        return status, said, time.monotonic() - begun - number / rate

    with ThreadPoolExecutor(_SENDERS) as pool:
        waiting = []
        for number in range(int(seconds * rate)):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            waiting.append(pool.submit(send, number))
    for answer in waiting:
        status, said, latency = answer.result()
        sent.latencies.append(latency)
        if (status, said) == (200, b"success"):
            sent.accepted += 1
        else:
            sent.others[status] += 1
    return sent


def ask(port: int, method: str, path: str, body: str | None) -> tuple[int, bytes]:
    """One request on a connection of its own: the status and the body of the answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, path, body, {"Content-Type": FORM} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
