"""Reading many payouts by what they have in common. Statements that only read, for people."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, func, select

from shared.domain.payout import PROPOSED, PayoutState, Status
from shared.domain.transitions import FINAL
from shared.storage.encryption import AccountCipher
from shared.storage.row_mapping import payout_from_row
from shared.storage.tables import metadata

_PAYOUT = metadata.tables["payout"]
_EVENT = metadata.tables["payout_event"]
_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class PayoutFilter:
    """Which payouts; what is not given excludes none. Times are aware."""

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
"""Holds a connection until it is at its end or closed."""


def newest(engine: Engine, vault: AccountCipher, wanted: PayoutFilter, limit: int = 0) -> Payouts:
    """The payouts, those accepted last first; `limit` of them at most, 0 for all.

    Read as they are taken: a long list needs no more memory than a short one.
    """
    asked = (
        select(_PAYOUT)
        .where(*_conditions(wanted))
        .order_by(_PAYOUT.c.created_at.desc(), _PAYOUT.c.id.desc())
    )
    yield from _read(engine, vault, asked, limit)


def in_review(engine: Engine, vault: AccountCipher, limit: int = 0) -> Payouts:
    """The payouts that need a person, those that have needed one longest first."""
    asked = (
        select(_PAYOUT)
        .where(_PAYOUT.c.review_reason.is_not(None))
        .order_by(_PAYOUT.c.review_since, _PAYOUT.c.id)
    )
    yield from _read(engine, vault, asked, limit)


def with_proposals(engine: Engine, vault: AccountCipher) -> Payouts:
    """The payouts without an end for which an act was proposed at some time, oldest first."""
    proposed = select(_EVENT.c.id).where(
        _EVENT.c.payout_id == _PAYOUT.c.id, _EVENT.c.kind == PROPOSED
    )
    asked = select(_PAYOUT).where(_PAYOUT.c.due_at.is_not(None), proposed.exists())
    yield from _read(engine, vault, asked.order_by(_PAYOUT.c.id), 0)


def _conditions(wanted: PayoutFilter) -> list[ColumnElement[bool]]:
    row = _PAYOUT.c
    found: list[ColumnElement[bool]] = []
    if wanted.statuses:
        found.append(row.status.in_([status.value for status in wanted.statuses]))
        if FINAL.isdisjoint(wanted.statuses):
            found.append(row.due_at.is_not(None))  # says the same, and there is an index for it
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
    equal = ("currency", "channel_code", "epay_account")
    found += [row[name] == getattr(wanted, name) for name in equal if getattr(wanted, name)]
    return found


def _read(engine: Engine, vault: AccountCipher, asked: Select[Any], limit: int) -> Payouts:
    asked = asked.limit(limit) if limit else asked
    with (
        engine.connect().execution_options(yield_per=_AT_A_TIME) as connection,
        connection.execute(asked) as rows,
    ):
        for row in rows:
            yield payout_from_row(row, vault)
