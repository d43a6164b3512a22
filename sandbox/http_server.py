"""HTTP/1.1 with keep-alive on werkzeug's threaded server, which can close and open again."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from typing import TYPE_CHECKING, Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_BACKLOG = 1024
_POLL_SECONDS = 0.05


class HttpServer:
    """Serves an app while it is open. The first `open` fixes the port for later ones."""

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        self._host = host
        self._app = app
        self.port = port
        self._lock = threading.Lock()
        self._is_open = False
        self._connections: dict[socket.socket, bool] = {}
        """All connections; True for one that waits for a request."""
        self._listener: BaseWSGIServer | None = None
        self._thread = threading.Thread()

    def open(self) -> None:
        """Listen; raises OSError when the port is taken."""
        # Bound here: werkzeug would end the whole process when the port is taken.
        with socket.create_server((self._host, self.port), backlog=_BACKLOG) as bound:
            self._listener = make_server(
                self._host,
                self.port,
                self._app,
                threaded=True,
                request_handler=type("Handler", (_Handler,), {"owner": self}),
                fd=bound.fileno(),
            )
        self.port = self._listener.port
        self._is_open = True
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(_POLL_SECONDS,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Close the listening socket and idle connections. Then connecting is refused."""
        with self._lock:
            self._is_open = False
            for connection, is_idle in self._connections.items():
                if is_idle:
                    with contextlib.suppress(OSError):  # the client was faster
                        connection.shutdown(socket.SHUT_RDWR)
        if self._listener is not None:
            self._listener.shutdown()
            self._thread.join()
            self._listener = None

    def note(self, connection: socket.socket, *, is_idle: bool) -> bool:
        """Note whether a connection waits for a request; False if it must end now."""
        with self._lock:
            self._connections[connection] = is_idle
            return self._is_open

    def forget(self, connection: socket.socket) -> None:
        """Note that a connection has ended."""
        with self._lock:
            self._connections.pop(connection, None)

    @property
    def connection_count(self) -> int:
        """How many connections are open."""
        return len(self._connections)


class _Handler(WSGIRequestHandler):
    """One connection, which, unlike werkzeug's own, stays open between requests."""

    protocol_version = "HTTP/1.1"
    # Nagle's algorithm with delayed acknowledgements would stall small answers for 40 ms.
    disable_nagle_algorithm = True
    owner: HttpServer

    def handle_one_request(self) -> None:
        """Wait for a request and answer it."""
        self.close_connection = not self.owner.note(self.connection, is_idle=True)
        if not self.close_connection:
            super().handle_one_request()

    def finish(self) -> None:
        """End the connection."""
        self.owner.forget(self.connection)
        super().finish()

    def run_wsgi(self) -> None:
        """Run the app on a body read to its end, and send head and body in one piece."""
        if not self.owner.note(self.connection, is_idle=False):
            self.close_connection = True
            return
        environ = self.make_environ()
        is_chunked = environ.get("wsgi.input_terminated")
        length = -1 if is_chunked else int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        response = Response.from_app(self.server.app, environ, buffered=True)
        response.headers["Date"] = self.date_time_string()
        if self.close_connection:
            response.headers["Connection"] = "close"
        head = f"HTTP/1.1 {response.status}\r\n{response.headers}".encode("latin-1")
        try:
            self.wfile.write(head + response.get_data())
        except OSError:
            self.close_connection = True  # dropped by a fault, or by the client

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Stay quiet: /_requests is the log."""
