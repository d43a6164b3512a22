"""The sandbox as a running server, inside this process."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from typing import Any, Self

from flask import Flask

from sandbox.admin_api import admin_routes
from sandbox.api import GatewayApi
from sandbox.callbacks import CallbackSender
from sandbox.faults import GlobalFaults
from sandbox.http_server import HttpServer
from sandbox.ledger import OrderBook, RequestLog
from sandbox.order_simulation import OrderSimulation
from sandbox.outage import DownMode, Outage
from sandbox.scheduler import Scheduler
from sandbox.settings import PREFIX, SandboxConfig, parse_amounts

_LAST_ANSWERS_SECONDS = 2.0


class Gateway:
    """A gateway over real HTTP, in threads of this process. It is a context manager."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        limits = parse_amounts(self.config.limits)
        self.limits = {currency: (low, high) for currency, (low, high) in limits.items()}
        self.fee = Decimal(self.config.fee)
        balances = parse_amounts(self.config.balances)
        self.balances = {currency: amount for currency, (amount,) in balances.items()}
        self.book = OrderBook(self.config.duplicates)
        self.log = RequestLog(self.config.request_log_size)
        self.faults = GlobalFaults()
        self.stopping = threading.Event()
        """Set when the sandbox stops: handlers that hold a connection open let it go."""
        self._scheduler = Scheduler()
        self._sender = CallbackSender(self.config, self.book, self._scheduler)
        self.simulation = OrderSimulation(self.config, self.book, self._scheduler, self._sender)
        app = Flask("sandbox", static_folder=None)
        app.json.sort_keys = False  # type: ignore[attr-defined]
        app.register_blueprint(GatewayApi(self).blueprint())
        app.register_blueprint(admin_routes(self))
        self._http = HttpServer(self.config.host, self.config.port, app)
        self.outage = Outage(self._scheduler, self._http)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen, and start the clock of orders; raises OSError when the port is taken."""
        self._http.open()
        self._scheduler.start()
        return self

    def stop(self) -> None:
        """Stop listening, let go of held connections, end all threads. Twice does no harm."""
        self.stopping.set()
        self._scheduler.stop()
        self._sender.stop()
        self._http.close()
        end = time.monotonic() + _LAST_ANSWERS_SECONDS
        while self._http.connection_count and time.monotonic() < end:
            time.sleep(0.01)

    @property
    def port(self) -> int:
        """The port that it listens on, known after `start`."""
        return self._http.port

    @property
    def root_url(self) -> str:
        """The address under which the /_ paths live."""
        host = "127.0.0.1" if self.config.host in {"", "0.0.0.0"} else self.config.host  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """The address for EPAY_BASE_URL."""
        return self.root_url + PREFIX

    def ledger(self) -> dict[str, Any]:
        """Do what `GET /_ledger` does: give all orders and the totals."""
        return self.book.ledger()

    def present_faults(self) -> dict[str, Any]:
        """Do what `GET /_faults` does: give the faults in force."""
        outage = {"down_seconds": self.outage.seconds_left, "mode": self.outage.mode}
        return self.faults.model_dump() | outage

    def set_faults(
        self, /, down_seconds: float = 0, mode: str = DownMode.REFUSE, **faults: Any
    ) -> dict[str, Any]:
        """Do what `POST /_faults` does: merge faults in, begin an outage.

        Raises:
            ValueError: a fault is unknown or its value is wrong; nothing has changed.
        """
        seconds, down_mode = float(down_seconds), DownMode(str(mode))
        self.faults = GlobalFaults.model_validate(self.faults.model_dump() | faults)
        if seconds > 0:
            self.outage.begin(seconds, down_mode)
        return self.present_faults()

    def clear_faults(self) -> None:
        """Do what `DELETE /_faults` does: end an outage and all faults but those of remarks."""
        self.faults = GlobalFaults()
        self.outage.end()

    def report(self, merchant_order_no: str, status: str, *, callback: bool = True) -> bool:
        """Change the gateway's mind about an order; False if there is no such order."""
        order = self.book.find(merchant_order_no)
        if order is not None:
            self.simulation.report(order, status, callback=callback)
        return order is not None

    def reset(self) -> None:
        """Forget orders, payments, calls and faults. What was about to happen does not happen."""
        # Cleared first: ending an outage may itself need the clock.
        self._scheduler.clear()
        self.clear_faults()
        self.book.reset()
        self.log = RequestLog(self.config.request_log_size)
