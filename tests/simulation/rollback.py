"""The database goes back to an earlier state; and what law 11 has against it, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ops.recovery import Recovery
from shared.domain.accounts import ConfiguredAccount
from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState
from shared.domain.policy import Policy
from shared.domain.witness import Doubt, Mark, doubt_about
from tests.simulation.memory_store import MemoryStore, Outgoing


@dataclass
class Past:
    """What a backup holds."""

    rows: dict[int, PayoutState]
    events: dict[int, list[Any]]
    outbox: list[Outgoing]
    high_water: int


@dataclass
class SimDeployment:
    """See `worker.deployment` and `worker.send_guard.witness`."""

    store: MemoryStore
    clock: Callable[[], datetime]
    pause: Callable[[str], None]
    policy: Policy
    account: ConfiguredAccount
    query: Callable[[str], OrderAnswer]
    marks: dict[str, Mark] = field(default_factory=dict)
    high_water: int = 0
    in_redis: int | None = 0
    """None: Redis was emptied."""
    epoch: int = 0
    asks_first: bool = False
    """Once set it stays: apps ask again within one resend horizon after `payouts recover`."""
    paused: bool = False
    """The pause `database_changed`."""
    backup: Past | None = None
    unnoticed: bool = False
    """The database went back, and only Redis could show it (docs/operations.md)."""

    def witness(self, payout: PayoutState) -> Doubt | None:
        self.pause("witness: before the mark")
        own = Mark.of(payout, self.epoch)
        key = payout.merchant_order_no
        found, self.marks[key] = self.marks.get(key), own
        self.pause("witness: after the mark")
        return self._judge(payout, own, found)

    def look(self, payout: PayoutState) -> Doubt | None:
        self.pause("witness: look")
        found = self.marks.get(payout.merchant_order_no)
        return self._judge(payout, Mark.of(payout, self.epoch), found)

    def watch(self, _now: datetime) -> None:
        known = self.in_redis
        self.pause("watch: before the mark is advanced")
        self.high_water += 1
        if known is not None and known >= self.high_water:
            self.paused = True
        if self.paused or (known is not None and self.in_redis is None):
            return  # emptied meanwhile: the next sweep sees it
        if known is None:
            for row in self.store.rows.values():
                if row.first_sent_at is not None:
                    self.marks.setdefault(row.merchant_order_no, Mark.of(row, 0))
        self.in_redis = max(self.in_redis or 0, self.high_water)

    def wipe(self) -> None:
        """Redis loses everything, unless it is all that knows of the database's past."""
        if not self.unnoticed:
            self.marks.clear()
            self.in_redis = None

    def take_backup(self) -> None:
        store = self.store
        self.backup = Past(
            dict(store.rows),
            {one: list(events) for one, events in store.events.items()},
            [replace(one) for one in store.outbox],
            self.high_water,
        )

    def go_back(self, *, shows: bool) -> None:
        """Restore the backup; `shows`: the database has another identity than its row names."""
        past, self.backup = self.backup, None
        assert past is not None
        self.store.rows, self.store.events = past.rows, past.events
        self.store.outbox, self.high_water = past.outbox, past.high_water
        self.unnoticed = not shows and self.in_redis is not None
        self.paused = self.paused or not self.unnoticed

    def recover(self) -> None:
        """A person runs `payouts recover`."""
        ask = Recovery(
            self.store,  # type: ignore[arg-type]
            self.account,
            lambda orders: [self.query(one) for one in orders],
            self.policy,
            clock=self.clock,
        )
        rows = self.store.rows.values()
        orders = {row.id: row.merchant_order_no for row in rows if row.due_at is not None}
        if orders and (ask.ask(orders) or ask.findings.undecided):
            return
        self.epoch, self.asks_first = self.epoch + 1, True
        self.paused = self.unnoticed = False
        self.high_water = self.in_redis = max(self.high_water, self.in_redis or 0) + 1

    def _judge(self, payout: PayoutState, own: Mark, found: Mark | None) -> Doubt | None:
        return doubt_about(
            own,
            found,
            remembered=found is not None
            and self._remembers(payout.id, own)
            and self._remembers(payout.id, found),
            asks_first=self.asks_first,
        )

    def _remembers(self, payout_id: int, mark: Mark) -> bool:
        return any(
            event.sequence == mark.sequence and event.hash.startswith(mark.hash)
            for event in self.store.events.get(payout_id, [])
        )
