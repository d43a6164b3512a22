"""Running gateways, a merchant and a callback receiver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from sandbox.server import Gateway
from sandbox.settings import SandboxConfig
from tests.support.sandbox import Merchant, Receiver, ReceiverHandler, ReceiverServer

FAST: dict[str, Any] = {
    "pay_after": 0.05,
    "callback_scale": 0.001,
    "pending_seconds": 0.2,
    "slow_seconds": 0.3,
    "silence_seconds": 0.4,
    "contradict_after": 0.1,
    "late_callback_seconds": 600.0,
}

Start = Callable[..., Merchant]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a gateway with the given settings and give its merchant."""
    with ExitStack() as stack:

        def begin(**settings: Any) -> Merchant:
            gateway = stack.enter_context(Gateway(SandboxConfig(**FAST | settings)))
            return Merchant(gateway, stack.enter_context(requests.Session()))

        yield begin


@pytest.fixture
def merchant(start: Start) -> Merchant:
    """The merchant of a gateway with the usual settings."""
    return start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A callback address over real HTTP."""
    with ReceiverServer(("127.0.0.1", 0), ReceiverHandler) as server:
        server.receiver = Receiver(f"http://127.0.0.1:{server.server_port}/epay/callback")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.receiver
        server.shutdown()
        thread.join()
