"""Every SQL statement that changes a payout: accept, claim, record. One statement is one commit.

Steps are made by `shared.domain.lifecycle`; here they are taken, all or nothing: row, journal entry
and outbox message in one statement, and only if the row still is what the step was made from
(compare-and-set on `sequence`, law 7).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Select, TextClause, select

from shared.domain.notifications import Message, messages_for
from shared.domain.payout import PayoutState, Status, Transition
from shared.storage.encryption import NO_ENCRYPTION, AccountCipher
from shared.storage.engine import driver_cursor
from shared.storage.group_commit import Together
from shared.storage.row_mapping import dumps, event_row, message_row, payout_from_row, payout_row
from shared.storage.statements import (
    ADD_MESSAGES,
    APPLY,
    BY_IDS,
    CAP_LOCK,
    CHANGED,
    CLAIM_DUE,
    DRIVER,
    EXPIRED_LEASES,
    INSERT,
    INSERTED,
    KEYS_BY_IDS,
    PAYOUT,
    REENCRYPT,
    RELAY_TRY,
    SENT,
    SENT_SINCE,
    STORED_ACCOUNTS,
    UNMATCHED_EVENT,
    UNSENT,
)

_RELAY_LOCK = 0x6F757462
_CAP_LOCK = 0x63617073
_RELAY_SECONDS = 5
"""A slow broker ends a round early, well before PostgreSQL ends the transaction."""

Decide = Callable[[PayoutState], Transition | None]
Execute = Callable[[TextClause, dict[str, str]], list[tuple[int, int]]]
"""Runs one of the two writing statements: (nth, id) of what was written."""
DecideWithin = Callable[[PayoutState, Decimal], Transition | None]


class ConcurrentUpdate(Exception):
    """A step could not be taken although its row was locked: a defect, not a state of the world."""


@dataclass(frozen=True, slots=True)
class Due:
    """A payout that the sweep has claimed."""

    id: int
    status: Status


class ClaimedKey(NamedTuple):
    """What has to be known of a payout to ask EPAY about it."""

    id: int
    merchant_order_no: str
    status: Status


class PayoutStore:
    """The payouts on disk. Safe to share between threads; every call is one transaction.

    Args:
        single: a pool of its own for the calls that are one statement (`make_single_engine`); they
            are most, and cost half as much there.
    """

    def __init__(
        self, engine: Engine, vault: AccountCipher = NO_ENCRYPTION, *, single: Engine | None = None
    ) -> None:
        self.engine = engine
        self._vault = vault
        self._single = single or engine.execution_options(isolation_level="AUTOCOMMIT")
        self._direct = single
        self._inserting = Together(self._insert_batch)
        self._applying = Together(self._apply_batch)

    def insert(self, steps: Sequence[Transition]) -> list[PayoutState | None]:
        """Put new payouts on disk, with their claim if they have one: one commit.

        A single one goes with those that other threads bring at the same moment.

        Returns:
            For each step the payout with its id, or None where the merchant_order_no is taken.
        """
        return [self._inserting.do(steps[0])] if len(steps) == 1 else self._insert_batch(steps)

    def _insert_batch(self, steps: Sequence[Transition]) -> list[PayoutState | None]:
        with self._writing() as execute:
            return _insert(execute, steps, self._vault)

    def apply(self, step: Transition) -> PayoutState | None:
        """Take one step if the row is still what it was made from; None if it is not.

        It goes with those that other threads bring at the same moment, in one commit.
        """
        return self._applying.do(step)

    def _apply_batch(self, steps: Sequence[Transition]) -> list[PayoutState | None]:
        with self._writing() as execute:
            taken = _apply(execute, steps)
        return [step.after if nth in taken else None for nth, step in enumerate(steps)]

    def update(self, payout_id: int, decide: Decide) -> PayoutState | None:
        """Lock the payout, decide, take the step: one commit.

        Returns:
            The payout as it stands afterwards; None if there is none.
        """
        found = self.update_many([payout_id], decide)
        return found[0] if found else None

    def update_many(self, payout_ids: Sequence[int], decide: Decide) -> list[PayoutState]:
        """The same for several payouts, in one commit."""
        return self._update(BY_IDS.with_for_update(), {"ids": list(payout_ids)}, decide)

    def update_by_order_no(
        self, epay_account: str, merchant_order_no: str, decide: Decide
    ) -> PayoutState | None:
        """Like `change`, for a payout known by its order number."""
        found = self._update(
            _by_order(epay_account, merchant_order_no).with_for_update(), {}, decide
        )
        return found[0] if found else None

    def update_within_cap(
        self, payout: PayoutState, since: datetime, decide: DecideWithin
    ) -> PayoutState | None:
        """Like `change`; `decide` is told what was sent in the payout's currency after `since`.

        One at a time for a currency, so that two payouts cannot both fill the last gap.
        """
        with self.engine.begin() as connection:
            values = {"epay_account": payout.epay_account, "currency": payout.currency}
            connection.execute(CAP_LOCK, {"key": _CAP_LOCK, "currency": payout.currency})
            sent = connection.execute(SENT_SINCE, {**values, "since": since}).scalar_one()
            found = self._update_selected(
                connection,
                BY_IDS.with_for_update(),
                {"ids": [payout.id]},
                lambda fresh: decide(fresh, sent),
            )
        return found[0] if found else None

    def expire_leases(self, now: datetime, limit: int, decide: Decide) -> list[PayoutState]:
        """Change payouts whose sender's lease is over, `limit` of them at most."""
        return self._update(EXPIRED_LEASES, {"now": now, "limit": limit}, decide)

    def claim_due(self, now: datetime, until: datetime, limit: int) -> list[Due]:
        """Claim what is due, the longest due first: `due_at` becomes the lease `until`.

        Leaves the mark by which `shared.observability.health` tells that sweeps come through.
        """
        with self._single.connect() as connection:
            rows = connection.execute(CLAIM_DUE, {"now": now, "until": until, "limit": limit})
            return [Due(row.id, Status(row.status)) for row in rows]

    def find(self, epay_account: str, merchant_order_no: str) -> PayoutState | None:
        """The payout as it stands, or None."""
        with self._single.connect() as connection:
            row = connection.execute(_by_order(epay_account, merchant_order_no)).one_or_none()
            return None if row is None else payout_from_row(row, self._vault)

    def get_claimed(self, payout_ids: Sequence[int], lease: datetime | None) -> list[PayoutState]:
        """Those of the payouts that are still under the given claim of the sweep."""
        wanted = BY_IDS if lease is None else BY_IDS.where(PAYOUT.c.due_at == lease)
        with self._single.connect() as connection:
            rows = connection.execute(wanted, {"ids": list(payout_ids)})
            return [payout_from_row(row, self._vault) for row in rows]

    def get_claimed_keys(
        self, payout_ids: Sequence[int], lease: datetime | None
    ) -> list[ClaimedKey]:
        """Like `claimed`, without what is not needed to ask about them."""
        wanted = KEYS_BY_IDS if lease is None else KEYS_BY_IDS.where(PAYOUT.c.due_at == lease)
        with self._single.connect() as connection:
            rows = connection.execute(wanted, {"ids": list(payout_ids)})
            return [ClaimedKey(row[0], row[1], Status(row[2])) for row in rows]

    def record_unmatched_event(
        self, kind: str, actor: str, detail: dict[str, Any], now: datetime
    ) -> None:
        """Put on record a report that fits no payout of ours."""
        values = {"kind": kind, "actor": actor, "at": now, "detail": json.dumps(detail)}
        with self._single.connect() as connection:
            connection.execute(UNMATCHED_EVENT, values)

    def add_messages(
        self, payout_id: int | None, messages: Sequence[Message], now: datetime
    ) -> None:
        """Queue messages for asking apps that go with no change of a payout."""
        rows = [{"payout_id": payout_id, **message_row(message, now)} for message in messages]
        with self._single.connect() as connection:
            connection.execute(ADD_MESSAGES, {"messages": dumps(rows)})

    def reencrypt_accounts(self, after_id: int, limit: int) -> tuple[int, int]:
        """Store the next account numbers under the current key.

        Returns:
            The last id looked at (`after_id` when there are no more), and how many were changed.
        """
        with self.engine.begin() as connection:
            found = connection.execute(STORED_ACCOUNTS, {"last": after_id, "limit": limit}).all()
            rows = [
                {
                    "id": row.id,
                    "account_no": self._vault.encrypt(self._vault.decrypt(row.account_no)),
                }
                for row in found
                if not self._vault.is_current(row.account_no)
            ]
            if rows:
                connection.execute(REENCRYPT, {"rows": dumps(rows)})
        return (found[-1].id if found else after_id), len(rows)

    def relay_outbox(self, publish: Callable[[Message], None], now: datetime, limit: int) -> int:
        """Publish unsent messages in order and mark them sent; one relay at a time (law 8).

        A crash in between publishes them again: at least once. An error of `publish` ends the
        round; what was published before it is marked.

        Returns:
            How many were published.
        """
        sent: list[int] = []
        with self.engine.connect() as connection:
            if not connection.execute(RELAY_TRY, {"key": _RELAY_LOCK}).scalar_one():
                return 0
            try:
                until = time.monotonic() + _RELAY_SECONDS
                for row in connection.execute(UNSENT, {"limit": limit}).all():
                    publish(Message(row.task, row.queue, row.kwargs))
                    sent.append(row.id)
                    if time.monotonic() > until:
                        break
            finally:
                if sent:
                    connection.execute(SENT, {"now": now, "ids": sent})
                    connection.commit()
            return len(sent)

    @contextmanager
    def _writing(self) -> Iterator[Execute]:
        """Run a writing statement as a transaction of its own."""
        if self._direct is not None:
            with driver_cursor(self._direct) as cursor:
                yield lambda statement, values: cursor.execute(DRIVER[statement], values).fetchall()
        else:
            with self._single.connect() as connection:
                yield _within(connection)

    def _update(
        self, wanted: Select[Any], values: dict[str, Any], decide: Decide
    ) -> list[PayoutState]:
        with self.engine.begin() as connection:
            return self._update_selected(connection, wanted, values, decide)

    def _update_selected(
        self, connection: Connection, wanted: Select[Any], values: dict[str, Any], decide: Decide
    ) -> list[PayoutState]:
        found = [payout_from_row(row, self._vault) for row in connection.execute(wanted, values)]
        steps = [step for step in map(decide, found) if step is not None]
        taken = _apply(_within(connection), steps) if steps else {}
        after = {payout.id: payout for payout in found}
        for nth, step in enumerate(steps):
            if nth in taken:
                after[step.after.id] = step.after
            elif not step.skip_if_already_recorded:
                msg = f"{step.after.merchant_order_no} changed under its lock"
                raise ConcurrentUpdate(msg)
        return list(after.values())


def insert_within(
    connection: Connection, steps: Sequence[Transition], vault: AccountCipher = NO_ENCRYPTION
) -> list[PayoutState | None]:
    """`Store.accept` within the caller's own transaction.

    Of steps with the same order number the first counts; None answers the others.
    """
    return _insert(_within(connection), steps, vault)


def _within(connection: Connection) -> Execute:
    """Run a writing statement within a transaction of somebody's."""

    def execute(statement: TextClause, values: dict[str, str]) -> list[tuple[int, int]]:
        return [(row.nth, row.id) for row in connection.execute(statement, values)]

    return execute


def _insert(
    execute: Execute, steps: Sequence[Transition], vault: AccountCipher
) -> list[PayoutState | None]:
    first: dict[tuple[str, str], int] = {}
    for nth, step in enumerate(steps):
        first.setdefault((step.after.epay_account, step.after.merchant_order_no), nth)
    tried = list(first.values())
    rows = [
        payout_row(steps[nth].after, INSERTED)
        | {"account_no": vault.encrypt(steps[nth].after.account_no)}
        for nth in tried
    ]
    taken = _write(execute, INSERT, rows, [steps[nth] for nth in tried])
    ids = {tried[place]: payout_id for place, payout_id in taken.items()}
    return [
        _with_id(step.after, ids[nth]) if nth in ids else None for nth, step in enumerate(steps)
    ]


def _by_order(epay_account: str, merchant_order_no: str) -> Select[Any]:
    return select(PAYOUT).where(
        PAYOUT.c.epay_account == epay_account, PAYOUT.c.merchant_order_no == merchant_order_no
    )


def _apply(execute: Execute, steps: Sequence[Transition]) -> dict[int, int]:
    rows = [
        {
            "id": step.after.id,
            "expected": _expected(step),
            "once": step.skip_if_already_recorded,
            **payout_row(step.after, CHANGED),
        }
        for step in steps
    ]
    return _write(execute, APPLY, rows, steps)


def _expected(step: Transition) -> int:
    return step.before.sequence if step.before else 0


def _write(
    execute: Execute, statement: TextClause, rows: list[dict[str, Any]], steps: Sequence[Transition]
) -> dict[int, int]:
    """Run one of the two writing statements; which steps were taken, and on which payout."""
    events = [{"nth": nth, **event_row(step.event)} for nth, step in enumerate(steps) if step.event]
    messages = [
        {"nth": nth, **message_row(message, step.after.updated_at)}
        for nth, step in enumerate(steps)
        for message in messages_for(step)
    ]
    taken = execute(
        statement,
        {
            "rows": dumps([{"nth": nth, **row} for nth, row in enumerate(rows)]),
            "events": dumps(events),
            "messages": dumps(messages),
        },
    )
    return dict(taken)


def _with_id(payout: PayoutState, payout_id: int) -> PayoutState:
    return replace(payout, id=payout_id)
