"""What must be true in every world after every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.domain import hash_chain
from shared.domain.accounts import ConfiguredAccounts, account_key
from shared.domain.notifications import Message
from shared.domain.payout import SEALED, JournalEvent, PayoutState, Status, row_hash
from shared.domain.policy import Policy
from shared.domain.review import SECOND_ORDER, code_of
from shared.domain.transitions import FINAL, STATUS_OF_EPAY_CODE, TRANSITIONS, status_from_epay
from tests.simulation.elsewhere import HOME, AwayGateway
from tests.simulation.gateway import SECOND, SimGateway
from tests.simulation.memory_store import MemoryStore, sealed

_FARTHEST = timedelta(days=2)
"""Whatever waits is looked at once a day at least, give or take the jitter."""
_BY_EPAY = frozenset(STATUS_OF_EPAY_CODE.values())


class Violation(Exception):
    """A law was broken; the text says which, and by which payout."""


@dataclass
class Invariants:
    """Watches the store and the gateway."""

    store: MemoryStore
    gateway: SimGateway
    policy: Policy
    away: Mapping[ConfiguredAccounts, AwayGateway] = field(default_factory=dict)
    ends: dict[int, Status] = field(default_factory=dict)
    looked_at: dict[int, int] = field(default_factory=dict)
    standing: dict[int, PayoutState] = field(default_factory=dict)
    went_back: bool = False
    """Then an app may have been told of an end that the database forgot."""

    def forget(self) -> None:
        """The database went back: what was seen of its rows is no longer there."""
        self.ends.clear()
        self.looked_at.clear()
        self.standing.clear()
        self.went_back = True

    def after_each_step(self) -> None:
        """Raise Violation if a law is broken now."""
        for no, times in self.gateway.payments.items():
            if times > 1:
                raise Violation(f"{no} was paid {times} times")
        self._homes()
        self._caps()
        for payout in self.store.rows.values():
            if self.standing.get(payout.id) is not payout:
                self._look_at(payout)
                self.standing[payout.id] = payout

    def after_a_sweep(self, now: datetime) -> None:
        """Law 16: whatever is open and old has a reason."""
        for row in self.store.rows.values():
            is_old = now - row.created_at >= self.policy.review_after
            if row.status not in FINAL and is_old and row.review_reason is None:
                raise Violation(f"{row.merchant_order_no} is old, {row.status}, without a reason")

    def at_the_end(self, asked: Mapping[str, Any], told: Sequence[Message]) -> None:
        """Raise Violation if something was lost or told wrongly."""
        rows = {row.merchant_order_no: row for row in self.store.rows.values()}
        for no in asked:
            if no not in rows:
                raise Violation(f"{no} was lost")
            row = rows[no]
            self._true_end(row)
            finals = [
                message.kwargs["status"]
                for message in told
                if message.kwargs["merchant_order_no"] == no
                and message.kwargs["status"] in {status.value for status in FINAL}
            ]
            if self.went_back:
                finals = finals[-1:]
            if row.status in FINAL and set(finals) != {row.status.value}:
                raise Violation(f"{no} is {row.status}, the app was told {finals}")
            self._told_in_order(row, told)
            known = _known_to_the_app(no, told)
            if row.status in FINAL and known != row.status.value:
                raise Violation(f"{no} is {row.status}, the app says {known}")

    def _homes(self) -> None:
        """Law 10: one payout for a number; no account but its own was sent it."""
        rows = list(self.store.rows.values())
        if len({row.merchant_order_no for row in rows}) < len(rows):
            raise Violation("a number has two payouts")
        for row in rows:
            no = row.merchant_order_no
            for accounts, away in self.away.items():
                is_its_own = accounts.find(row.epay_account, row.epay_gateway) is not None
                if away.payments[no] > is_its_own:
                    raise Violation(f"{no} was paid {away.payments[no]} times elsewhere")
            if self.gateway.creates.get(no) and HOME.missing(row.epay_account, row.epay_gateway):
                raise Violation(f"{no} is of another account, and was sent from ours")

    def _caps(self) -> None:
        """What no person released stays within the caps (what failed is no longer counted)."""
        unpaid = {Status.REJECTED, Status.FAILED, Status.CANCELLED}
        sent = [
            row
            for row in self.store.rows.values()
            if row.first_sent_at and not row.released_at and row.status not in unpaid
        ]
        for row in sent:
            single = self.policy.cap_per_payout.get(row.currency)
            if single is not None and row.amount > single:
                raise Violation(f"{row.merchant_order_no} was sent above the cap for one payout")
            daily = self.policy.cap_per_day.get(row.currency)
            window = [
                one.amount
                for one in sent
                if one.first_sent_at
                and row.first_sent_at
                and account_key(one.epay_account) == account_key(row.epay_account)
                and timedelta(0) <= row.first_sent_at - one.first_sent_at < timedelta(hours=24)
            ]
            if daily is not None and sum(window) > daily:
                raise Violation(f"{row.merchant_order_no} was sent above the cap of the day")

    def _look_at(self, payout: PayoutState) -> None:
        no = payout.merchant_order_no
        if (payout.due_at is None) != (payout.status in FINAL):
            raise Violation(f"{no} is {payout.status} with due_at {payout.due_at}")
        if payout.due_at is not None and payout.due_at - self.gateway.clock() > _FARTHEST:
            raise Violation(f"{no} is {payout.status} and nobody looks before {payout.due_at}")
        end = self.ends.get(payout.id)
        if end is not None and payout.status is not end:
            raise Violation(f"{no} was {end} and is {payout.status}")
        if payout.status in FINAL:
            self.ends[payout.id] = payout.status
        before = self.standing.get(payout.id)
        moved = before is not None and before.status is not payout.status
        if moved and before is not None and before.sequence == payout.sequence:
            raise Violation(f"{no} went to {payout.status} without an event")
        self._said_by_epay(payout)
        self._one_epay_order(payout)
        self._journal(payout)

    def _said_by_epay(self, payout: PayoutState) -> None:
        """No status says more than EPAY said."""
        no = payout.merchant_order_no
        words = self.gateway.said[no] | self.gateway.said[f"{no} {payout.epay_order_no}"]
        said = {status_from_epay(status) for status in words}
        said |= {Status.SUCCEEDED for away in self.away.values() if no in away.orders}
        if payout.status in _BY_EPAY and payout.status not in said:
            raise Violation(f"{no} is {payout.status}, EPAY said {said or 'nothing'}")

    def _one_epay_order(self, payout: PayoutState) -> None:
        """EPAY's first order number stays, and a report of another one is for a person (law 13)."""
        no, number = payout.merchant_order_no, payout.epay_order_no
        before = self.standing.get(payout.id)
        if before is not None and before.epay_order_no not in {None, number}:
            raise Violation(f"{no} was EPAY's {before.epay_order_no} and is {number}")
        last = self.store.events[payout.id][-1]
        named = last.detail.get("epay_order_no")
        if not last.kind.endswith("_report") or None in {number, named} or named == number:
            return
        if code_of(payout.review_reason or "") != SECOND_ORDER:
            raise Violation(f"{no} is EPAY's {number}, {named} is reported, and nobody is told")

    def _journal(self, payout: PayoutState) -> None:
        events = self.store.events[payout.id]
        if len(events) != payout.sequence:
            raise Violation(f"{payout.merchant_order_no}: {payout.sequence} steps, {events}")
        seen = self.looked_at.get(payout.id, 0)
        for nth in range(seen, len(events)):
            self._event(payout, events, nth)
        self.looked_at[payout.id] = len(events)
        kept = sealed(payout) if SEALED in events[-1].detail else payout
        if events[-1].row_hash != row_hash(kept):
            raise Violation(f"{payout.merchant_order_no}: the row moved without an event")
        if events[-1].hash != payout.journal_hash or events[-1].status_after != payout.status:
            raise Violation(f"{payout.merchant_order_no}: the journal tells another story")

    def _event(self, payout: PayoutState, events: Sequence[JournalEvent], nth: int) -> None:
        event = events[nth]
        previous = events[nth - 1].hash if nth else hash_chain.GENESIS
        if event.previous_hash != previous or event.sequence != nth + 1:
            raise Violation(f"{payout.merchant_order_no}: the chain breaks at event {nth + 1}")
        before, after = event.status_before, event.status_after
        if before is not None and before is not after and after not in TRANSITIONS[before]:
            raise Violation(f"{payout.merchant_order_no}: {before} -> {after} is no move")

    def _true_end(self, row: PayoutState) -> None:
        no = row.merchant_order_no
        orders = self.gateway.orders.get(no, [])
        if (row.epay_order_no or "").startswith(SECOND):
            return  # EPAY named the second order first: no one can tell which is which
        if row.status is Status.REJECTED and orders:
            raise Violation(f"{no} is rejected, and the gateway has it")
        if self.gateway.mood.contradicts:
            return  # the gateway itself tells two stories
        paid = bool(self.gateway.payments.get(no))
        paid = paid or any(away.payments[no] for away in self.away.values())
        if row.status in FINAL and paid is not (row.status is Status.SUCCEEDED):
            raise Violation(f"{no} is {row.status}, and was {'paid' if paid else 'never paid'}")

    def _told_in_order(self, row: PayoutState, told: Sequence[Message]) -> None:
        """Each message was told after those before it had been told once (law 8)."""
        written = [out.message for out in self.store.outbox if out.payout_id == row.id]
        heard: list[int] = []
        for message in told:
            nth = next((i for i, one in enumerate(written) if one is message), None)
            if nth is not None and nth not in heard:
                heard.append(nth)
        if heard != list(range(len(written))):
            raise Violation(f"{row.merchant_order_no}: told in the order {heard}")


def _known_to_the_app(no: str, told: Sequence[Message]) -> str | None:
    """What the app of docs/producers.md says of a payout after these messages (law 14)."""
    last, status = -1, None
    for message in told:
        sequence = message.kwargs["sequence"]
        if message.kwargs["merchant_order_no"] != no or sequence is None or sequence < last:
            continue
        last, status = sequence, message.kwargs["status"]
    return status
