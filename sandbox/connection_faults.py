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
    """Close the client's connection. The response that this gives never reaches anybody."""
    connection = _connection()
    if connection is not None:
        with contextlib.suppress(OSError):  # the client was faster
            connection.shutdown(socket.SHUT_RDWR)
    return Response(status=500)


def hold_connection(seconds: float, stopping: threading.Event) -> None:
    """Say nothing for so long, or until the client gives up or the sandbox stops."""
    end = time.monotonic() + seconds
    connection = _connection()
    if connection is None:
        stopping.wait(seconds)
        return
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while not stopping.is_set() and (left := end - time.monotonic()) > 0:
            if selector.select(min(left, _LOOK_SECONDS)):
                return  # the client hung up: it has nothing to say before our answer


def _connection() -> socket.socket | None:
    connection = request.environ.get("werkzeug.socket")
    return connection if isinstance(connection, socket.socket) else None
