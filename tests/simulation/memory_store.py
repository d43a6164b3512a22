"""A model of the payout store in memory; `test_model.py` holds it against PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.domain.accounts import ConfiguredAccount, account_key
from shared.domain.intake import standing_for
from shared.domain.notifications import Message, messages_for
from shared.domain.payout import (
    JournalEvent,
    PayoutState,
    Status,
    Transition,
    UnreadableAccount,
)
from shared.domain.transitions import FINAL, FINAL_EPAY_CODES
from shared.identifiers import without_ruin
from shared.storage.outbox import QueueRefused
from shared.storage.payout_store import ClaimedKey, ConcurrentUpdate, Decide, DecideWithin
from shared.storage.refused_requests import Refusal


@dataclass
class Outgoing:
    """A row of the outbox."""

    payout_id: int | None
    message: Message
    sent: bool = False


def sealed(payout: PayoutState) -> PayoutState:
    """The payout as it is read without the key of its account number."""
    return replace(payout, account_no=UnreadableAccount(f"fernet:{payout.id}"))


@dataclass
class MemoryStore:
    """The same calls as the real store; every call is one transaction."""

    rows: dict[int, PayoutState] = field(default_factory=dict)
    events: dict[int, list[JournalEvent]] = field(default_factory=dict)
    outbox: list[Outgoing] = field(default_factory=list)
    strays: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    transactions_open: int = 0
    relaying: bool = False
    locked: set[int] = field(default_factory=set)
    """Payouts whose account number no key decrypts."""
    allow_alike: bool = False

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
        key = account_key(epay_account)
        same = [row for row in self.rows.values() if row.merchant_order_no == merchant_order_no]
        same.sort(key=lambda row: (account_key(row.epay_account) != key, row.id))
        standing = same[0] if same else None
        return self._update([standing], decide)[0] if standing else None

    def update_within_cap(
        self, payout: PayoutState, since: datetime, decide: DecideWithin
    ) -> PayoutState | None:
        unpaid = {Status.REJECTED, Status.FAILED, Status.CANCELLED}
        sent = sum(
            (
                row.amount
                for row in self.rows.values()
                if account_key(row.epay_account) == account_key(payout.epay_account)
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

    def flag_overdue(self, before: datetime, limit: int, decide: Decide) -> list[PayoutState]:
        old = [
            row
            for row in self.rows.values()
            if row.due_at and row.review_reason is None and row.created_at <= before
        ]
        old.sort(key=lambda row: (row.created_at, row.id))
        return self._update(old[:limit], decide)

    def claim_due(
        self,
        now: datetime,
        until: datetime,
        limit: int,
        spacing: timedelta = timedelta(0),
        *,
        with_queued: bool = True,
    ) -> list[ClaimedKey]:
        del spacing
        due = [
            row
            for row in self.rows.values()
            if row.due_at and row.due_at <= now and row.status is not Status.SUBMITTING
            if with_queued or row.status is not Status.QUEUED
        ]
        due.sort(key=lambda row: (row.due_at, row.id))
        for row in due[:limit]:
            self.rows[row.id] = replace(row, due_at=until)
        return [_claimed_key(row) for row in due[:limit]]

    def find(self, epay_account: str, merchant_order_no: str) -> PayoutState | None:
        key = (epay_account, merchant_order_no)
        for row in self.rows.values():
            if (row.epay_account, row.merchant_order_no) == key:
                return self._read(row)
        return None

    def _read(self, row: PayoutState) -> PayoutState:
        return sealed(row) if row.id in self.locked else row

    def find_standing(self, wanted: PayoutState) -> PayoutState | None:
        number = wanted.merchant_order_no
        same = [self._read(row) for row in self.rows.values() if row.merchant_order_no == number]
        return standing_for(wanted, sorted(same, key=lambda row: row.id))

    def find_alike(self, wanted: PayoutState) -> str | None:
        number = wanted.merchant_order_no
        stored = {row.merchant_order_no for row in self.rows.values()}
        alike = [one for one in stored if without_ruin(one) == without_ruin(number)]
        return None if number in stored or self.allow_alike else max(alike, default=None)

    def newest_ended(
        self, account: ConfiguredAccount, sent_before: datetime, without: Sequence[int] = ()
    ) -> PayoutState | None:
        for row in sorted(self.rows.values(), key=lambda row: -row.id):
            if (
                row.status in FINAL
                and row.epay_status in FINAL_EPAY_CODES
                and row.review_reason is None
                and account_key(row.epay_account) == account_key(account.account)
                and (row.epay_gateway is None or account.has(row.epay_gateway))
                and row.last_sent_at is not None
                and row.last_sent_at <= sent_before
                and row.id not in without
            ):
                return self._read(row)
        return None

    def get_claimed(self, payout_ids: Sequence[int], lease: datetime | None) -> list[PayoutState]:
        found = [self.rows[payout_id] for payout_id in sorted(set(payout_ids) & self.rows.keys())]
        return [self._read(row) for row in found if lease is None or row.due_at == lease]

    def get_claimed_keys(
        self, payout_ids: Sequence[int], lease: datetime | None
    ) -> list[ClaimedKey]:
        return [_claimed_key(row) for row in self.get_claimed(payout_ids, lease)]

    def record_unmatched_event(
        self, kind: str, actor: str, detail: dict[str, Any], now: datetime
    ) -> None:
        del now, actor
        self.strays.append((kind, detail))

    def record_refused_request(self, refusal: Refusal) -> None:
        self.refused.append(refusal)

    def add_messages(
        self, payout_id: int | None, messages: Sequence[Message], now: datetime
    ) -> None:
        del now
        self.outbox += [Outgoing(payout_id, message) for message in messages]

    def relay_outbox(
        self,
        publish: Callable[[Message], None],
        now: datetime,
        limit: int,
        refused: set[str] | None = None,
    ) -> int:
        del now
        if self.relaying:
            return 0
        self.relaying = True
        refused = set() if refused is None else refused
        sent: list[Outgoing] = []
        try:
            for outgoing in self._unsent(refused)[:limit]:
                if not any(one is outgoing for one in self._unsent(refused)):
                    continue
                try:
                    publish(outgoing.message)
                    sent.append(outgoing)
                except QueueRefused:
                    refused.add(outgoing.message.queue)
        except Exception:
            self._mark(sent)
            raise
        else:
            self._mark(sent)
        finally:
            self.relaying = False
        return len(sent)

    def _unsent(self, refused: set[str]) -> list[Outgoing]:
        """In order, without the queues that refuse and what follows one of theirs."""
        behind: set[int] = set()
        found = []
        for outgoing in self.outbox:
            if outgoing.sent:
                continue
            if outgoing.message.queue in refused or outgoing.payout_id in behind:
                behind |= {outgoing.payout_id} if outgoing.payout_id is not None else set()
            else:
                found.append(outgoing)
        return found

    @staticmethod
    def _mark(sent: list[Outgoing]) -> None:
        for outgoing in sent:
            outgoing.sent = True

    def _insert_one(self, step: Transition) -> PayoutState | None:
        if self.find_standing(step.after) or self.find_alike(step.after):
            return None
        payout = replace(step.after, id=len(self.rows) + 1)
        self.events[payout.id] = []
        self._write(replace(step, after=payout))
        return payout

    def _update(self, found: list[PayoutState], decide: Decide) -> list[PayoutState]:
        self.transactions_open += 1
        try:
            steps = [decide(self._read(payout)) for payout in found]
        finally:
            self.transactions_open -= 1
        for payout, step in zip(found, steps, strict=True):
            if step is not None and not self._is_replay(step):
                if self.rows[payout.id].sequence != payout.sequence:
                    raise ConcurrentUpdate
                self._write(step)
        return [self._read(self.rows[payout.id]) for payout in found]

    def _is_replay(self, step: Transition) -> bool:
        if not step.skip_if_already_recorded or step.event is None:
            return False
        said = (step.event.kind, step.event.detail)
        return said in [(event.kind, event.detail) for event in self.events[step.after.id]]

    def _write(self, step: Transition) -> None:
        after = step.after
        self._check(after)
        if isinstance(after.account_no, UnreadableAccount):
            after = replace(after, account_no=self.rows[after.id].account_no)
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


def _claimed_key(row: PayoutState) -> ClaimedKey:
    return ClaimedKey(row.id, row.merchant_order_no, row.status, row.epay_account, row.epay_gateway)
