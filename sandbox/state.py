"""The parts of one sandbox, put together."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

from sandbox.callbacks import CallbackSender
from sandbox.faults import GlobalFaults
from sandbox.http_server import HttpServer
from sandbox.ledger import OrderBook, RequestLog
from sandbox.order_simulation import OrderSimulation
from sandbox.outage import DownMode, Outage
from sandbox.scheduler import Scheduler
from sandbox.settings import SandboxConfig, parse_balances, parse_limits


class SandboxState:
    """All that the calls and the /_ paths work on, apart from Flask."""

    def __init__(self, config: SandboxConfig, http: HttpServer) -> None:
        self.config = config
        self.http = http
        self.limits = parse_limits(config.limits)
        self.fee = Decimal(config.fee)
        self.balances = parse_balances(config.balances)
        self.book = OrderBook(config.duplicates)
        self.log = RequestLog(config.request_log_size)
        self.faults = GlobalFaults()
        self.stopping = threading.Event()
        """Set when the sandbox stops: handlers that hold a connection open let it go."""
        self.scheduler = Scheduler()
        self.outage = Outage(self.scheduler, http)
        self.sender = CallbackSender(config, self.book, self.scheduler)
        self.simulation = OrderSimulation(config, self.book, self.scheduler, self.sender)

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
        if order is None:
            return False
        self.simulation.report(order, status, callback=callback)
        return True

    def reset(self) -> None:
        """Forget orders, payments, calls and faults. What was about to happen does not happen."""
        # Cleared first: ending an outage may itself need the clock.
        self.scheduler.clear()
        self.clear_faults()
        self.book.reset()
        self.log = RequestLog(self.config.request_log_size)
