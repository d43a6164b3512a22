"""HTTP/1.1 with keep-alive on werkzeug's threaded server, and a door that closes and reopens."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BACKLOG = 1024
_POLL_SECONDS = 0.05


class Connections:
    """Which connections wait for a request, so that going away can close those and no others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: set[socket.socket] = set()
        self._open = 0
        self._away = False

    def opened(self) -> None:
        """Count a new connection."""
        with self._lock:
            self._open += 1

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._idle.discard(connection)
            self._open -= 1

    def wait_for_request(self, connection: socket.socket) -> bool:
        """Note that the connection is idle; False if it should be closed instead."""
        with self._lock:
            if not self._away:
                self._idle.add(connection)
            return not self._away

    def request_came(self, connection: socket.socket) -> bool:
        """Note that the connection is busy; False if the gateway went away just now."""
        with self._lock:
            self._idle.discard(connection)
            return not self._away

    def set_away(self, *, away: bool) -> None:
        """While away no connection takes a request; those that wait for one are closed at once."""
        with self._lock:
            self._away = away
            for connection in self._idle if away else ():
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def count(self) -> int:
        """How many are open."""
        with self._lock:
            return self._open


class Handler(WSGIRequestHandler):
    """One connection, which, unlike werkzeug's own, stays open between requests."""

    protocol_version = "HTTP/1.1"
    # Nagle's algorithm with delayed acknowledgements would stall small answers for 40 ms.
    disable_nagle_algorithm = True
    server: Listener

    def setup(self) -> None:
        """Count the connection in."""
        super().setup()
        self.server.connections.opened()

    def finish(self) -> None:
        """Count the connection out."""
        self.server.connections.closed(self.connection)
        super().finish()

    def handle_one_request(self) -> None:
        """Wait for a request and answer it."""
        if not self.server.connections.wait_for_request(self.connection):
            self.close_connection = True
            return
        super().handle_one_request()

    def run_wsgi(self) -> None:
        """Run the app on a body read to its end, and send head and body in one piece."""
        if not self.server.connections.request_came(self.connection):
            self.close_connection = True
            return
        environ = self.make_environ()
        if environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read()
        else:
            body = self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        response = Response.from_app(self.server.app, environ, buffered=True)
        content = response.get_data()
        response.headers["Content-Length"] = str(len(content))
        response.headers["Date"] = self.date_time_string()
        if self.close_connection:
            response.headers["Connection"] = "close"
        head = f"HTTP/1.1 {response.status}\r\n{response.headers}".encode("latin-1")
        try:
            self.wfile.write(head + content)
        except OSError:
            self.close_connection = True  # dropped by a fault, or by the client

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Stay quiet: /_requests is the log."""


class Listener(ThreadedWSGIServer):
    """One period of listening."""

    request_queue_size = BACKLOG

    def __init__(
        self, address: tuple[str, int], app: WSGIApplication, connections: Connections
    ) -> None:
        # Bound here: werkzeug would end the whole process when the port is taken.
        with socket.create_server(address, backlog=BACKLOG) as bound:
            super().__init__(*address, app, Handler, fd=bound.fileno())
        self.connections = connections


class Door:
    """The listening socket with its thread. The first `open` fixes the port for later ones."""

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        self._host = host
        self.port = port
        self._app = app
        self.connections = Connections()
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Listen; raises OSError when the port is taken."""
        self._listener = Listener((self._host, self.port), self._app, self.connections)
        self.port = self._listener.port
        self.connections.set_away(away=False)
        self._thread = threading.Thread(
            target=self._listener.serve_forever,
            args=(_POLL_SECONDS,),
            name="sandbox-listener",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Close the listening socket and idle connections. Then connecting is refused."""
        if self._listener is None or self._thread is None:
            return
        self.connections.set_away(away=True)
        self._listener.shutdown()
        self._thread.join()
        self._listener = None
