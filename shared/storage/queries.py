"""Read-only queries for the commands: one payout with its history, and lists of payouts."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, Table, func, select

from shared.domain.payout import PROPOSED, PayoutState, Status
from shared.domain.transitions import FINAL
from shared.storage.encryption import AccountCipher
from shared.storage.row_mapping import payout_from_row
from shared.storage.statements import is_account
from shared.storage.tables import metadata

_PAYOUT = metadata.tables["payout"]
_EVENT = metadata.tables["payout_event"]
_OUTBOX = metadata.tables["payout_outbox"]
_ROWS_PER_FETCH = 500


@dataclass(frozen=True, slots=True)
class PayoutDetail:
    """One payout, its journal in order, and the messages to the requesting app."""

    payout: PayoutState
    events: Sequence[dict[str, Any]]
    messages: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class PayoutFilter:
    """Conditions on payouts; one that is not given matches all. Times are aware."""

    statuses: Sequence[Status] = ()
    in_review: bool = False
    review_codes: Sequence[str] = ()
    since: datetime | None = None
    """Accepted then or later."""
    until: datetime | None = None
    """Accepted before then."""
    currency: str | None = None
    channel_code: str | None = None
    epay_account: str | None = None
    due_by: datetime | None = None
    """Due then or before."""


Payouts = Generator[PayoutState, None, None]
"""Holds a connection until it is exhausted or closed."""


def find_details(
    engine: Engine, cipher: AccountCipher, merchant_order_no: str, epay_account: str | None = None
) -> list[PayoutDetail]:
    """The payouts of an order number: one for each EPAY account that has it, usually one."""
    wanted = select(_PAYOUT).where(_PAYOUT.c.merchant_order_no == merchant_order_no)
    if epay_account is not None:
        wanted = wanted.where(is_account(epay_account))
    with engine.connect() as connection:
        payouts = [payout_from_row(row, cipher) for row in connection.execute(wanted)]
        return [
            PayoutDetail(
                payout,
                _rows_of(connection, _EVENT, payout.id),
                _rows_of(connection, _OUTBOX, payout.id),
            )
            for payout in payouts
        ]


def events_of(engine: Engine, payout_id: int) -> list[dict[str, Any]]:
    """The journal of one payout, in order."""
    with engine.connect() as connection:
        return _rows_of(connection, _EVENT, payout_id)


def newest(engine: Engine, cipher: AccountCipher, wanted: PayoutFilter, limit: int = 0) -> Payouts:
    """The payouts that match, last accepted first; `limit` of them at most, 0 for all.

    Rows are streamed: memory does not grow with the list.
    """
    selected = (
        select(_PAYOUT)
        .where(*_conditions(wanted))
        .order_by(_PAYOUT.c.created_at.desc(), _PAYOUT.c.id.desc())
    )
    yield from _read(engine, cipher, selected, limit)


def in_review(engine: Engine, cipher: AccountCipher, limit: int = 0) -> Payouts:
    """The payouts that wait for a person, longest waiting first."""
    selected = (
        select(_PAYOUT)
        .where(_PAYOUT.c.review_reason.is_not(None))
        .order_by(_PAYOUT.c.review_since, _PAYOUT.c.id)
    )
    yield from _read(engine, cipher, selected, limit)


def with_proposals(engine: Engine, cipher: AccountCipher) -> Payouts:
    """The payouts that are not final and for which an action was once proposed, oldest first."""
    proposed = select(_EVENT.c.id).where(
        _EVENT.c.payout_id == _PAYOUT.c.id, _EVENT.c.kind == PROPOSED
    )
    selected = select(_PAYOUT).where(_PAYOUT.c.due_at.is_not(None), proposed.exists())
    yield from _read(engine, cipher, selected.order_by(_PAYOUT.c.id), 0)


def _conditions(wanted: PayoutFilter) -> list[ColumnElement[bool]]:
    row = _PAYOUT.c
    found: list[ColumnElement[bool]] = []
    if wanted.statuses:
        found.append(row.status.in_([status.value for status in wanted.statuses]))
        if FINAL.isdisjoint(wanted.statuses):
            found.append(row.due_at.is_not(None))  # equivalent, and indexed
    if wanted.in_review or wanted.review_codes:
        found.append(row.review_reason.is_not(None))
    if wanted.review_codes:
        code = func.split_part(row.review_reason, ":", 1)
        found.append(code.in_(list(wanted.review_codes)))
    if wanted.since is not None:
        found.append(row.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(row.created_at < wanted.until)
    if wanted.due_by is not None:
        found.append(row.due_at <= wanted.due_by)
    if wanted.epay_account:
        found.append(is_account(wanted.epay_account))
    equal = ("currency", "channel_code")
    found += [row[name] == getattr(wanted, name) for name in equal if getattr(wanted, name)]
    return found


def _read(engine: Engine, cipher: AccountCipher, selected: Select[Any], limit: int) -> Payouts:
    selected = selected.limit(limit) if limit else selected
    with (
        engine.connect().execution_options(yield_per=_ROWS_PER_FETCH) as connection,
        connection.execute(selected) as rows,
    ):
        for row in rows:
            yield payout_from_row(row, cipher)


def _rows_of(connection: Connection, table: Table, payout_id: int) -> list[dict[str, Any]]:
    wanted = select(table).where(table.c.payout_id == payout_id).order_by(table.c.id)
    return [dict(row) for row in connection.execute(wanted).mappings()]
