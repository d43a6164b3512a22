"""A model of the payout store in memory; `test_model.py` holds it against PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.domain.notifications import Message, messages_for
from shared.domain.payout import JournalEvent, PayoutState, Status, Transition
from shared.domain.transitions import FINAL
from shared.storage.payout_store import ClaimedKey, ConcurrentUpdate, Decide, DecideWithin


@dataclass
class Outgoing:
    """A row of the outbox."""

    payout_id: int | None
    message: Message
    sent: bool = False


@dataclass
class MemoryStore:
    """The same calls as the real store; every call is one transaction."""

    rows: dict[int, PayoutState] = field(default_factory=dict)
    events: dict[int, list[JournalEvent]] = field(default_factory=dict)
    outbox: list[Outgoing] = field(default_factory=list)
    strays: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    transactions_open: int = 0
    relaying: bool = False

    def insert(self, steps: Sequence[Transition]) -> list[PayoutState | None]:
        return [self._insert_one(step) for step in steps]

    def apply(self, step: Transition) -> PayoutState | None:
        assert step.before is not None
        standing = self.rows.get(step.after.id)
        if standing is None or standing.sequence != step.before.sequence:
            return None
        if standing.journal_hash != step.before.journal_hash:
            return None
        self._write(step)
        return step.after

    def update(self, payout_id: int, decide: Decide) -> PayoutState | None:
        found = self.update_many([payout_id], decide)
        return found[0] if found else None

    def update_many(self, payout_ids: Sequence[int], decide: Decide) -> list[PayoutState]:
        wanted = sorted(set(payout_ids) & self.rows.keys())
        return self._update([self.rows[payout_id] for payout_id in wanted], decide)

    def update_by_order_no(
        self, epay_account: str, merchant_order_no: str, decide: Decide
    ) -> PayoutState | None:
        standing = self.find(epay_account, merchant_order_no)
        return self._update([standing], decide)[0] if standing else None

    def update_within_cap(
        self, payout: PayoutState, since: datetime, decide: DecideWithin
    ) -> PayoutState | None:
        unpaid = {Status.REJECTED, Status.FAILED, Status.CANCELLED}
        sent = sum(
            (
                row.amount
                for row in self.rows.values()
                if row.epay_account == payout.epay_account
                and row.currency == payout.currency
                and row.first_sent_at is not None
                and row.first_sent_at > since
                and row.status not in unpaid
            ),
            Decimal(0),
        )
        return self.update(payout.id, lambda fresh: decide(fresh, sent))

    def expire_leases(self, now: datetime, limit: int, decide: Decide) -> list[PayoutState]:
        over = [
            row
            for row in self.rows.values()
            if row.status is Status.SUBMITTING and row.due_at and row.due_at <= now
        ]
        over.sort(key=lambda row: (row.due_at, row.id))
        return self._update(over[:limit], decide)

    def claim_due(self, now: datetime, until: datetime, limit: int) -> list[ClaimedKey]:
        due = [
            row
            for row in self.rows.values()
            if row.due_at and row.due_at <= now and row.status is not Status.SUBMITTING
        ]
        due.sort(key=lambda row: (row.due_at, row.id))
        for row in due[:limit]:
            self.rows[row.id] = replace(row, due_at=until)
        return [ClaimedKey(row.id, row.merchant_order_no, row.status) for row in due[:limit]]

    def find(self, epay_account: str, merchant_order_no: str) -> PayoutState | None:
        key = (epay_account, merchant_order_no)
        for row in self.rows.values():
            if (row.epay_account, row.merchant_order_no) == key:
                return row
        return None

    def get_claimed(self, payout_ids: Sequence[int], lease: datetime | None) -> list[PayoutState]:
        found = [self.rows[payout_id] for payout_id in sorted(set(payout_ids) & self.rows.keys())]
        return [row for row in found if lease is None or row.due_at == lease]

    def get_claimed_keys(
        self, payout_ids: Sequence[int], lease: datetime | None
    ) -> list[ClaimedKey]:
        return [
            ClaimedKey(row.id, row.merchant_order_no, row.status)
            for row in self.get_claimed(payout_ids, lease)
        ]

    def record_unmatched_event(
        self, kind: str, actor: str, detail: dict[str, Any], now: datetime
    ) -> None:
        del now, actor
        self.strays.append((kind, detail))

    def add_messages(
        self, payout_id: int | None, messages: Sequence[Message], now: datetime
    ) -> None:
        del now
        self.outbox += [Outgoing(payout_id, message) for message in messages]

    def relay_outbox(self, publish: Callable[[Message], None], now: datetime, limit: int) -> int:
        del now
        if self.relaying:
            return 0
        self.relaying = True
        sent: list[Outgoing] = []
        try:
            for outgoing in [row for row in self.outbox if not row.sent][:limit]:
                publish(outgoing.message)
                sent.append(outgoing)
        except Exception:
            self._mark(sent)
            raise
        else:
            self._mark(sent)
        finally:
            self.relaying = False
        return len(sent)

    @staticmethod
    def _mark(sent: list[Outgoing]) -> None:
        for outgoing in sent:
            outgoing.sent = True

    def _insert_one(self, step: Transition) -> PayoutState | None:
        if self.find(step.after.epay_account, step.after.merchant_order_no):
            return None
        payout = replace(step.after, id=len(self.rows) + 1)
        self.events[payout.id] = []
        self._write(replace(step, after=payout))
        return payout

    def _update(self, found: list[PayoutState], decide: Decide) -> list[PayoutState]:
        self.transactions_open += 1
        try:
            steps = [decide(payout) for payout in found]
        finally:
            self.transactions_open -= 1
        for payout, step in zip(found, steps, strict=True):
            if step is not None and not self._is_replay(step):
                if self.rows[payout.id].sequence != payout.sequence:
                    raise ConcurrentUpdate
                self._write(step)
        return [self.rows[payout.id] for payout in found]

    def _is_replay(self, step: Transition) -> bool:
        if not step.skip_if_already_recorded or step.event is None:
            return False
        said = (step.event.kind, step.event.detail)
        return said in [(event.kind, event.detail) for event in self.events[step.after.id]]

    def _write(self, step: Transition) -> None:
        after = step.after
        self._check(after)
        self.rows[after.id] = after
        if step.event is not None:
            self.events[after.id].append(step.event)
        self.outbox += [Outgoing(after.id, message) for message in messages_for(step)]

    @staticmethod
    def _check(payout: PayoutState) -> None:
        """What the database's constraints hold."""
        final = payout.status in FINAL
        assert (payout.due_at is None) == final, "due_at unless final"
        assert (payout.finished_at is not None) == final, "finished_at if final"
        assert payout.status is not Status.SUBMITTING or payout.claim_id, "submitting is claimed"
        assert (payout.review_reason is None) == (payout.review_since is None), "review has since"
