"""What a request handler can do to its own connection instead of answering."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time

from flask import Response, request

_LOOK_SECONDS = 0.25


def drop_connection() -> Response:
    """Close the client's connection. The returned response does not reach the client."""
    with contextlib.suppress(OSError):  # the client was faster
        request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return Response(status=500)


def hold_connection(seconds: float, stopping: threading.Event) -> None:
    """Say nothing for so long, or until the client gives up or the sandbox stops."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(request.environ["werkzeug.socket"], selectors.EVENT_READ)
        while not stopping.is_set() and (left := end - time.monotonic()) > 0:
            if selector.select(min(left, _LOOK_SECONDS)):
                return  # the client hung up: it has nothing to say before our answer
