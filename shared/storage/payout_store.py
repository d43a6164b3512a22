"""The store of payouts: insert, claim, update. Each call is one transaction.

Transitions are made by `shared.domain.lifecycle`; `shared.storage.write_transitions` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Select, select
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.domain.accounts import ConfiguredAccount, account_key
from shared.domain.intake import standing_for
from shared.domain.notifications import Message
from shared.domain.payout import PayoutState, Status, Transition
from shared.storage import outbox, refused_requests
from shared.storage.bulk_insert import find_alike
from shared.storage.cap_sums import CapSums
from shared.storage.encryption import NO_ENCRYPTION, AccountCipher
from shared.storage.engine import autocommit_cursor
from shared.storage.group_commit import GroupCommit
from shared.storage.refused_requests import Refusal
from shared.storage.row_mapping import payout_from_row
from shared.storage.statements import (
    BY_IDS,
    BY_NUMBER,
    BY_NUMBER_OF_ACCOUNT_FIRST,
    CAP_LOCK,
    CLAIM_DUE,
    EXPIRED_LEASES,
    KEYS_BY_IDS,
    NEWEST_ENDED,
    OVERDUE,
    PAYOUT,
    UNMATCHED_EVENT,
    WITHOUT_GATEWAY,
    of_account,
)
from shared.storage.write_transitions import (
    apply_transitions,
    insert_transitions,
    lock_numbers,
    log_new_reviews,
    on_cursor,
)

_CAP_LOCK = 0x63617073
_CAP_WAIT_SECONDS = 10.0  # as for a connection of the pool

Decide = Callable[[PayoutState], Transition | None]
"""Makes the transition of a locked payout; None: nothing changes."""
DecideWithin = Callable[[PayoutState, Decimal], Transition | None]
"""As above, given the amount already sent in the payout's currency."""


class ConcurrentUpdate(Exception):
    """A transition was not written although its row was locked: a defect of the service."""


class ClaimedKey(NamedTuple):
    """The fields of a payout that the sweep and a status query need."""

    id: int
    merchant_order_no: str
    status: Status
    epay_account: str
    epay_gateway: str | None


class PayoutStore:
    """The payouts in PostgreSQL. Threads may share it.

    Args:
        engine: its pool serves all calls; those of one statement run in autocommit mode.
        cipher: encrypts account numbers at rest.
        group_commit: threads that write at the same moment share a commit.
        several_accounts: more than one is configured: see `lock_numbers`, which an insert then
            calls. With one account the constraints of the table suffice.
        allow_alike: see `insert_transitions`.
    """

    def __init__(
        self,
        engine: Engine,
        cipher: AccountCipher = NO_ENCRYPTION,
        *,
        group_commit: bool = False,
        several_accounts: bool = False,
        allow_alike: bool = False,
    ) -> None:
        self.engine = engine
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._cipher = cipher
        self._several_accounts = several_accounts
        self.allow_alike = allow_alike
        self._capped = Lock()
        self._cap_sums = CapSums()
        self._insert_one = GroupCommit(self._insert).submit if group_commit else None
        self._apply_one = GroupCommit(self._apply).submit if group_commit else None

    def insert(self, transitions: Sequence[Transition]) -> list[PayoutState | None]:
        """Insert new payouts, with their claim if they have one, in one commit.

        Returns:
            For each transition the payout with its id, or None where the order number is taken.
        """
        if self._insert_one and len(transitions) == 1:
            return [self._insert_one(transitions[0])]
        return self._insert(transitions)

    def _insert(self, transitions: Sequence[Transition]) -> list[PayoutState | None]:
        insert = partial(
            insert_transitions,
            transitions=transitions,
            cipher=self._cipher,
            allow_alike=self.allow_alike,
        )
        if self._several_accounts:
            with self.engine.begin() as connection:
                lock_numbers(connection, (transition.after for transition in transitions))
                inserted = insert(connection.execute)
        else:
            with autocommit_cursor(self.engine) as cursor:
                inserted = insert(on_cursor(cursor))
        pairs = zip(transitions, inserted, strict=True)
        log_new_reviews(transition for transition, payout in pairs if payout is not None)
        return inserted

    def apply(self, transition: Transition) -> PayoutState | None:
        """Write one transition; None if its row has changed since it was made."""
        return self._apply_one(transition) if self._apply_one else self._apply([transition])[0]

    def _apply(self, transitions: Sequence[Transition]) -> list[PayoutState | None]:
        with autocommit_cursor(self.engine) as cursor:
            written = apply_transitions(on_cursor(cursor), transitions)
        log_new_reviews(transitions[nth] for nth in written)
        return [one.after if nth in written else None for nth, one in enumerate(transitions)]

    def update(self, payout_id: int, decide: Decide) -> PayoutState | None:
        """Lock the payout, decide, write the transition.

        Returns:
            The payout afterwards; None if there is none.
        """
        return next(iter(self.update_many([payout_id], decide)), None)

    def update_many(self, payout_ids: Sequence[int], decide: Decide) -> list[PayoutState]:
        """`update` for several payouts in one commit."""
        return self._update(BY_IDS.with_for_update(), {"ids": list(payout_ids)}, decide)

    def update_by_order_no(
        self, epay_account: str, merchant_order_no: str, decide: Decide
    ) -> PayoutState | None:
        """`update` for the payout of an order number: that account's, else another's."""
        wanted = BY_NUMBER_OF_ACCOUNT_FIRST.with_for_update()
        values = {"order_no": merchant_order_no, "account_key": account_key(epay_account)}
        return next(iter(self._update(wanted, values, decide)), None)

    def update_within_cap(
        self, payout: PayoutState, since: datetime, decide: DecideWithin
    ) -> PayoutState | None:
        """`update`; `decide` also gets the amount sent in the payout's currency after `since`.

        Calls for one currency run one at a time: two payouts cannot both use what the cap leaves.
        """
        # a process waits for the lock of PostgreSQL with one connection, not with its whole pool
        if not self._capped.acquire(timeout=_CAP_WAIT_SECONDS):
            raise PoolTimeout("other claims of this process wait for the cap")
        try:
            with self.engine.begin() as connection:
                connection.execute(CAP_LOCK, {"key": _CAP_LOCK, "currency": payout.currency})
                sent = self._cap_sums.sent_since(connection, payout, since)
                wanted, ids = BY_IDS.with_for_update(), {"ids": [payout.id]}
                found, written = self._update_selected(
                    connection, wanted, ids, lambda p: decide(p, sent), capped=True
                )
            self._cap_sums.note_commit(payout, since)
        finally:
            self._capped.release()
        log_new_reviews(written)
        return next(iter(found), None)

    def expire_leases(self, now: datetime, limit: int, decide: Decide) -> list[PayoutState]:
        """`update` payouts whose submission lease has expired, at most `limit`."""
        return self._update(EXPIRED_LEASES, {"now": now, "limit": limit}, decide)

    def flag_overdue(self, before: datetime, limit: int, decide: Decide) -> list[PayoutState]:
        """`update` open payouts accepted at `before` or earlier that have no reason (law 16)."""
        return self._update(OVERDUE, {"before": before, "limit": limit}, decide)

    def claim_due(
        self,
        now: datetime,
        until: datetime,
        limit: int,
        spacing: timedelta = timedelta(0),
        *,
        with_queued: bool = True,
    ) -> list[ClaimedKey]:
        """Claim due payouts, longest due first: `due_at` becomes the lease `until`.

        Claims nothing within `spacing` of the sweep before, by PostgreSQL's clock: ticks that piled
        up do the work of one. Also records the sweep's heartbeat (`shared.observability.health`).
        """
        values = {
            "now": now,
            "until": until,
            "limit": limit,
            "spacing": spacing,
            "left_out": [] if with_queued else [Status.QUEUED.value],
        }
        with self._single.connect() as connection:
            return list(map(_key, connection.execute(CLAIM_DUE, values)))

    def find(self, epay_account: str, merchant_order_no: str) -> PayoutState | None:
        """The payout, or None."""
        with self._single.connect() as connection:
            row = connection.execute(_by_order_no(epay_account, merchant_order_no)).one_or_none()
            return None if row is None else payout_from_row(row, self._cipher)

    def find_standing(self, wanted: PayoutState) -> PayoutState | None:
        """The payout that a request stands for; see `shared.domain.intake.standing_for`."""
        with self._single.connect() as connection:
            rows = connection.execute(BY_NUMBER, {"order_no": wanted.merchant_order_no})
            return standing_for(wanted, [payout_from_row(row, self._cipher) for row in rows])

    def find_alike(self, wanted: PayoutState) -> str | None:
        """The stored order number that keeps `insert` from storing this other one, if any does."""
        with self._single.connect() as connection:
            return find_alike(connection, [wanted]).get(wanted.merchant_order_no)

    def ids_without_gateway(self, after_id: int, limit: int) -> list[int]:
        """The next open payouts that were accepted before gateways were recorded."""
        with self._single.connect() as connection:
            rows = connection.execute(WITHOUT_GATEWAY, {"last": after_id, "limit": limit})
            return [row.id for row in rows]

    def newest_ended(
        self, account: ConfiguredAccount, sent_before: datetime, without: Sequence[int] = ()
    ) -> PayoutState | None:
        """The last accepted payout of the account that EPAY ended: it must know that one (law 12).

        Args:
            sent_before: one that was sent later may not show at EPAY yet.
            without: ids of payouts that do not serve.
        """
        values = {**of_account(account), "sent_before": sent_before, "without": [*without]}
        with self._single.connect() as connection:
            row = connection.execute(NEWEST_ENDED, values).one_or_none()
            return None if row is None else payout_from_row(row, self._cipher)

    def get_claimed(self, payout_ids: Sequence[int], lease: datetime | None) -> list[PayoutState]:
        """Those of the payouts whose `due_at` still is the sweep's lease; None: all of them."""
        wanted = BY_IDS if lease is None else BY_IDS.where(PAYOUT.c.due_at == lease)
        with self._single.connect() as connection:
            rows = connection.execute(wanted, {"ids": list(payout_ids)})
            return [payout_from_row(row, self._cipher) for row in rows]

    def get_claimed_keys(
        self, payout_ids: Sequence[int], lease: datetime | None
    ) -> list[ClaimedKey]:
        """`get_claimed`, with only the fields that a status query needs."""
        wanted = KEYS_BY_IDS if lease is None else KEYS_BY_IDS.where(PAYOUT.c.due_at == lease)
        with self._single.connect() as connection:
            rows = connection.execute(wanted, {"ids": list(payout_ids)})
            return list(map(_key, rows))

    def record_unmatched_event(
        self, kind: str, actor: str, detail: dict[str, Any], now: datetime
    ) -> None:
        """Record a report that matches no payout."""
        values = {"kind": kind, "actor": actor, "at": now, "detail": json.dumps(detail)}
        with self._single.connect() as connection:
            connection.execute(UNMATCHED_EVENT, values)

    def record_refused_request(self, refusal: Refusal) -> None:
        """See `shared.storage.refused_requests.add`."""
        refused_requests.add(self._single, refusal)

    def add_messages(
        self, payout_id: int | None, messages: Sequence[Message], now: datetime
    ) -> None:
        """See `shared.storage.outbox.add_messages`."""
        outbox.add_messages(self._single, payout_id, messages, now)

    def relay_outbox(
        self,
        publish: Callable[[Message], None],
        now: datetime,
        limit: int,
        refused: set[str] | None = None,
    ) -> int:
        """See `shared.storage.outbox.relay_outbox`."""
        skipped = set() if refused is None else refused
        return outbox.relay_outbox(self.engine, publish, now, limit, skipped)

    def _update(
        self, wanted: Select[Any], values: dict[str, Any], decide: Decide
    ) -> list[PayoutState]:
        with self.engine.begin() as connection:
            found, written = self._update_selected(connection, wanted, values, decide)
        log_new_reviews(written)
        return found

    def _update_selected(
        self,
        connection: Connection,
        wanted: Select[Any],
        values: dict[str, Any],
        decide: Decide,
        *,
        capped: bool = False,
    ) -> tuple[list[PayoutState], list[Transition]]:
        """The payouts afterwards, and the transitions that were written."""
        found = [payout_from_row(row, self._cipher) for row in connection.execute(wanted, values)]
        transitions = [one for one in map(decide, found) if one is not None]
        written = (
            apply_transitions(connection.execute, transitions, capped=capped) if transitions else {}
        )
        after = {payout.id: payout for payout in found}
        for nth, transition in enumerate(transitions):
            if nth in written:
                after[transition.after.id] = transition.after
            elif not transition.skip_if_already_recorded:
                order_no = transition.after.merchant_order_no
                raise ConcurrentUpdate(f"{order_no} changed under its lock")
        return list(after.values()), [transitions[nth] for nth in written]


def _key(row: Any) -> ClaimedKey:
    status = Status(row.status)
    return ClaimedKey(row.id, row.merchant_order_no, status, row.epay_account, row.epay_gateway)


def _by_order_no(epay_account: str, merchant_order_no: str) -> Select[Any]:
    return select(PAYOUT).where(
        PAYOUT.c.epay_account == epay_account, PAYOUT.c.merchant_order_no == merchant_order_no
    )
