"""The sandbox as a running server, inside this process."""

from __future__ import annotations

import time
from typing import Self

from flask import Flask

from sandbox.admin_api import admin_routes
from sandbox.api import GatewayApi
from sandbox.http_server import HttpServer
from sandbox.settings import PREFIX, SandboxConfig
from sandbox.state import SandboxState

_LAST_ANSWERS_SECONDS = 2.0


class Gateway(SandboxState):
    """The sandbox over real HTTP, in threads of this process. It is a context manager."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        config = config or SandboxConfig()
        app = Flask("sandbox", static_folder=None)
        app.json.sort_keys = False  # type: ignore[attr-defined]
        super().__init__(config, HttpServer(config.host, config.port, app))
        app.register_blueprint(GatewayApi(self).blueprint())
        app.register_blueprint(admin_routes(self))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen, and start the clock of orders; raises OSError when the port is taken."""
        self.http.open()
        self.scheduler.start()
        return self

    def stop(self) -> None:
        """Stop listening, let go of held connections, end all threads. Twice does no harm."""
        self.stopping.set()
        self.scheduler.stop()
        self.sender.stop()
        self.http.close()
        end = time.monotonic() + _LAST_ANSWERS_SECONDS
        while self.http.connection_count and time.monotonic() < end:
            time.sleep(0.01)

    @property
    def port(self) -> int:
        """The port that it listens on, known after `start`."""
        return self.http.port

    @property
    def root_url(self) -> str:
        """The address under which the /_ paths live."""
        host = "127.0.0.1" if self.config.host in {"", "0.0.0.0"} else self.config.host  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """The address for EPAY_BASE_URL."""
        return self.root_url + PREFIX
