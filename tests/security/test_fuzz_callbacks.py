"""Tens of thousands of hostile callbacks: no error of ours, and nothing believed that is not true.

FUZZ_CALLBACKS says how many (8000 without it), FUZZ_FROM where to start.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from flask import Flask

from shared.epay.callbacks import parse
from shared.messaging.callback_message import CallbackMessage
from tests.security.hostile_requests import Hostile, hostile
from tests.support.webhook import RecordingBroker, app, say

COUNT = int(os.environ.get("FUZZ_CALLBACKS", "8000"))
FIRST = int(os.environ.get("FUZZ_FROM", "0"))
MANY = "9999999/second"
BODIES = {
    200: {b"success"},
    400: {b"malformed", b"bad request"},
    403: {b"forbidden"},
    405: {b"method not allowed", b""},
    413: {b"too large"},
    415: {b"unsupported media type"},
    429: {b"too many requests"},
    503: {b"try again later"},
}


def ask(served: Flask, case: Hostile) -> tuple[int, bytes]:
    """Status and body, straight from the WSGI app."""
    begun: list[str] = []

    def start_response(status: str, _headers: Any, _error: Any = None) -> Any:
        begun.append(status)

    answer: Iterable[bytes] = served(case.environ(), start_response)
    body = b"".join(answer)
    getattr(answer, "close", lambda: None)()
    return int(begun[0].split()[0]), body


def claims(message: CallbackMessage) -> dict[str, Any]:
    """What the workers would act on."""
    return message.model_dump(exclude={"verified"})


@pytest.mark.timeout(600)
def test_nothing_breaks_and_nothing_false_is_believed(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No 5xx but 503 while the broker is away; what is believed is what EPAY signed."""
    broker = RecordingBroker()
    served = app(redis_url, broker, callback_rate_limit=MANY)
    served.config["PROPAGATE_EXCEPTIONS"] = True
    told: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    begun = time.monotonic()
    for number in range(FIRST, FIRST + COUNT):
        case = hostile(number)
        broker.away = number % 50 == 49
        broker.taken.clear()
        try:
            status, body = ask(served, case)
        except Exception as error:
            error.add_note(f"request {number} ({case.kind})")
            raise
        which = f"request {number} ({case.kind}) got {status} {body!r}"
        assert body in BODIES.get(status, ()), which
        assert status != 503 or broker.away, which
        assert (status == 200) == bool(broker.believed), which
        if case.is_right:
            assert status == (503 if broker.away else 200), which
        for message in broker.believed:
            signed_by_epay = CallbackMessage.of(parse(case.origin), verified=True)
            assert claims(message) == claims(signed_by_epay), which
        told[status] += 1
        kinds[case.kind] += 1
    took = time.monotonic() - begun
    with capsys.disabled():
        say(f"{COUNT} hostile callbacks in {took:.1f} s, answers {dict(sorted(told.items()))}")
        say(f"of {len(kinds)} kinds: {dict(sorted(kinds.items()))}")
    if COUNT >= 1000:
        assert set(told) == set(BODIES) - {429}
        assert len(kinds) == 18
