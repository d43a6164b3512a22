"""Verification of the hash chains: whether a payout's events and row are as they were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Engine, select

from shared.domain import hash_chain
from shared.domain.payout import (
    SEALED,
    JournalEvent,
    PayoutState,
    UnreadableAccount,
    event_hash,
    row_hash,
)
from shared.storage.encryption import AccountCipher
from shared.storage.row_mapping import event_from_row, payout_from_row
from shared.storage.tables import metadata

_PAYOUT = metadata.tables["payout"]
_EVENT = metadata.tables["payout_event"]
_ARCHIVE = metadata.tables["payout_archive"]
_BATCH = 500
_SNAPSHOT = "REPEATABLE READ"
"""Rows and events of one moment: payouts change while the audit runs."""


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """The first break of a payout's hash chain."""

    merchant_order_no: str
    epay_account: str
    sequence: int
    """The event that breaks the chain; one past the last if the row does."""
    what: str


@dataclass(frozen=True, slots=True)
class Archived:
    """The archived events of a payout: how many, and the hash of the last."""

    upto: int
    hash: str


NOTHING = Archived(0, hash_chain.GENESIS)


def audit_chains(engine: Engine, cipher: AccountCipher) -> Iterator[ChainBreak | None]:
    """Verify every payout, oldest first: its first break, or None if its chain is intact."""
    last_id = 0
    while True:
        with engine.connect().execution_options(isolation_level=_SNAPSHOT) as connection:
            wanted = select(_PAYOUT).where(_PAYOUT.c.id > last_id).order_by(_PAYOUT.c.id)
            stored_rows = connection.execute(wanted.limit(_BATCH)).all()
            payouts = [payout_from_row(row, cipher) for row in stored_rows]
            if not payouts:
                return
            journals: dict[int, list[JournalEvent]] = {payout.id: [] for payout in payouts}
            last_id = payouts[-1].id
            events = select(_EVENT).where(_EVENT.c.payout_id.between(payouts[0].id, last_id))
            events = events.order_by(_EVENT.c.payout_id, _EVENT.c.sequence)
            for row in connection.execute(events).mappings():
                journals[row["payout_id"]].append(event_from_row(row))
            moved = select(_ARCHIVE).where(_ARCHIVE.c.payout_id.between(payouts[0].id, last_id))
            archived = {
                row.payout_id: Archived(row.upto, row.hash) for row in connection.execute(moved)
            }
        stored = {row.id: row.account_no for row in stored_rows}
        for payout in payouts:
            journal = journals[payout.id]
            is_sealed = bool(journal) and SEALED in journal[-1].detail
            seen = replace(payout, account_no=stored[payout.id]) if is_sealed else payout
            yield first_break(seen, journal, archived.get(payout.id, NOTHING))


def first_break(
    payout: PayoutState, events: Sequence[JournalEvent], archived: Archived = NOTHING
) -> ChainBreak | None:
    """The first break of one payout's chain, its row included; None if it is intact."""
    order = payout.merchant_order_no, payout.epay_account
    found = broken_event(order, events, archived)
    if found is not None:
        return ChainBreak(*order, *found)
    last = archived.upto + len(events)
    what = _broken_row(payout, events, last, events[-1].hash if events else archived.hash)
    return None if what is None else ChainBreak(*order, last + 1, what)


def broken_event(
    order: tuple[str, str], events: Sequence[JournalEvent], archived: Archived = NOTHING
) -> tuple[int, str] | None:
    """The number of the first event that breaks the chain, and how it does; None if none does.

    Args:
        order: merchant_order_no and EPAY account.
    """
    order_no, account = order
    previous = archived.hash
    for nth, event in enumerate(events, start=archived.upto + 1):
        if event.sequence != nth:
            return nth, f"event {nth} is missing"
        if event.previous_hash != previous:
            return nth, "does not follow the event before it"
        if event_hash(event, account, order_no) != event.hash:
            return nth, "is not what was written"
        previous = event.hash
    return None


def _broken_row(
    payout: PayoutState, events: Sequence[JournalEvent], last: int, last_hash: str
) -> str | None:
    if payout.sequence != last:
        return f"event {last + 1} is missing: the row counts {payout.sequence}"
    if payout.journal_hash != last_hash:
        return "the row names another last event"
    if not events or events[-1].row_hash == row_hash(payout):
        return None
    if isinstance(payout.account_no, UnreadableAccount):
        return "the row cannot be checked: no key decrypts its account number"
    return "the row is not as its last event left it"
