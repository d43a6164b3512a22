"""Another account, or another gateway, that the service is pointed at for a while (law 10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from shared.domain.accounts import ConfiguredAccounts
from shared.domain.gateway import CreateOrder, OrderAnswer, Refused, Report
from tests.simulation.gateway import ACCOUNT, NOT_FOUND

HOME_GATEWAY = "api.epay.com"
HOME = ConfiguredAccounts.one(ACCOUNT, HOME_GATEWAY)
RESPELLED = ConfiguredAccounts.one(ACCOUNT.upper(), HOME_GATEWAY)
AWAY = (
    ConfiguredAccounts.one("other@epay.com", HOME_GATEWAY),
    ConfiguredAccounts.one(ACCOUNT, "sandbox:8080"),
)


@dataclass
class AwayGateway:
    """Pays whatever it is sent, at once, and knows nothing of the orders at home."""

    account: str
    pause: Callable[[str], None]
    orders: dict[str, CreateOrder] = field(default_factory=dict)
    payments: Counter[str] = field(default_factory=Counter)

    def create(self, order: CreateOrder, **_: object) -> OrderAnswer:
        self.pause(f"create {order.merchant_order_no} elsewhere")
        self.orders.setdefault(order.merchant_order_no, order)
        self.payments[order.merchant_order_no] += 1
        return self._report(order.merchant_order_no, "create")

    def query(self, no: str) -> OrderAnswer:
        self.pause(f"query {no} elsewhere")
        return self._report(no, "query") if no in self.orders else Refused(NOT_FOUND, "none")

    def _report(self, no: str, source: str) -> Report:
        order = self.orders[no]
        amount = Decimal(order.amount)
        return Report(source, self.account, no, f"W-{no}", "7", amount, order.currency)
