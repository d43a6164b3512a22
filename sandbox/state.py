"""The parts of one running sandbox, put together."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sandbox.callbacks import CallbackSender
from sandbox.faults import CALM, GlobalFaults, global_faults_from
from sandbox.ledger import OrderBook, RequestLog
from sandbox.order_simulation import OrderSimulation
from sandbox.outage import DownMode, Outage
from sandbox.scheduler import Scheduler
from sandbox.settings import SandboxConfig, parse_balances, parse_limits


class SandboxState:
    """All that the Flask app works on. `start` before the first request, `stop` after the last."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.limits = parse_limits(config.limits)
        self.fee = Decimal(config.fee)
        self.balances = parse_balances(config.balances)
        self.book = OrderBook(config.duplicates)
        self.log = RequestLog(config.request_log_size)
        self.faults: GlobalFaults = CALM
        self.stopping = threading.Event()
        """Set when the sandbox stops: whoever holds a connection open lets go."""
        self.scheduler = Scheduler()
        self.outage = Outage(self.scheduler)
        self._sender = CallbackSender(config, self.book, self.scheduler)
        self.simulation = OrderSimulation(config, self.book, self.scheduler, self._sender)

    def start(self) -> None:
        """Start the clock."""
        self.scheduler.start()

    def stop(self) -> None:
        """Release held connections, stop the clock, let callbacks under way end."""
        self.stopping.set()
        self.scheduler.stop()
        self._sender.stop()

    def set_faults(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge faults in, in the words of `POST /_faults`; raises ValueError for unknown ones."""
        rest = dict(body)
        mode = DownMode(str(rest.pop("mode", DownMode.REFUSE)))
        seconds = float(rest.pop("down_seconds", 0))
        self.faults = global_faults_from(rest, self.faults)
        if seconds > 0:
            self.outage.begin(seconds, mode)
        return self.faults_as_json()

    def clear_faults(self) -> None:
        """No faults from now on but those that remarks ask for; an outage ends at once."""
        self.faults = CALM
        self.outage.end()

    def faults_as_json(self) -> dict[str, Any]:
        """Give the faults in force."""
        faults = self.faults
        return {
            "rates": dict(faults.rates),
            "seed": faults.seed,
            "latency_seconds": faults.latency_seconds,
            "query_hidden_seconds": faults.query_hidden_seconds,
            "lose_answers": faults.lose_answers,
            "down_seconds": self.outage.seconds_left,
            "mode": self.outage.mode,
        }

    def report(self, merchant_order_no: str, status: str, *, callback: bool) -> bool:
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
        self.log.clear()
