"""Requests that were refused as invalid: one row each, and a bounded number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Engine, select, text

from shared.storage.tables import metadata

MAX_ROWS = 10_000
"""Each new row deletes those beyond: an app that sends nonsense cannot fill the disk."""

_REFUSED = metadata.tables["payout_refused"]
_ADD = text(
    """
WITH new AS (
    INSERT INTO payout_refused (at, source, merchant_order_no, account_no, code, field, message)
    VALUES (:at, :source, :merchant_order_no, :account_no, :code, :field, :message)
    RETURNING id
)
DELETE FROM payout_refused WHERE id <= (SELECT id - :max_rows FROM new)
"""
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused request. Texts of the caller are short and printable, account numbers masked."""

    at: datetime
    source: str
    merchant_order_no: str
    account_no: str
    code: str
    field: str
    message: str


def add(engine: Engine, refusal: Refusal) -> None:
    """Record a refused request, and delete the oldest ones beyond `MAX_ROWS`.

    Args:
        engine: each statement on it is a transaction.
    """
    with engine.connect() as connection:
        connection.execute(_ADD, {**asdict(refusal), "max_rows": MAX_ROWS})


def newest(
    engine: Engine, *, since: datetime | None, until: datetime | None, limit: int
) -> Sequence[Refusal]:
    """The refused requests from `since` until before `until`, newest first.

    Args:
        limit: how many at most; 0 for all.
    """
    wanted = select(_REFUSED).order_by(_REFUSED.c.id.desc())
    if since is not None:
        wanted = wanted.where(_REFUSED.c.at >= since)
    if until is not None:
        wanted = wanted.where(_REFUSED.c.at < until)
    names = Refusal.__dataclass_fields__
    with engine.connect() as connection:
        rows = connection.execute(wanted.limit(limit) if limit else wanted).mappings()
        return [Refusal(**{name: row[name] for name in names}) for row in rows]
