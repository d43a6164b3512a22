"""Reading one payout with everything that happened to it. Statements that only read, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from shared.domain.payout import PayoutState
from shared.storage.encryption import AccountCipher
from shared.storage.row_mapping import payout_from_row
from shared.storage.tables import metadata

_PAYOUT = metadata.tables["payout"]
_EVENT = metadata.tables["payout_event"]
_OUTBOX = metadata.tables["payout_outbox"]


@dataclass(frozen=True, slots=True)
class PayoutDetail:
    """One payout, its journal in order, and the messages to the asking app."""

    payout: PayoutState
    events: Sequence[dict[str, Any]]
    messages: Sequence[dict[str, Any]]


def find_details(
    engine: Engine, vault: AccountCipher, merchant_order_no: str, epay_account: str | None = None
) -> list[PayoutDetail]:
    """The payouts of that order number: one for each account that has it, usually one in all."""
    wanted = select(_PAYOUT).where(_PAYOUT.c.merchant_order_no == merchant_order_no)
    if epay_account is not None:
        wanted = wanted.where(_PAYOUT.c.epay_account == epay_account)
    with engine.connect() as connection:
        payouts = [payout_from_row(row, vault) for row in connection.execute(wanted)]
        return [
            PayoutDetail(
                payout,
                _rows(connection, _EVENT, _EVENT.c.payout_id == payout.id),
                _rows(connection, _OUTBOX, _OUTBOX.c.payout_id == payout.id),
            )
            for payout in payouts
        ]


def events_of(engine: Engine, payout_id: int) -> list[dict[str, Any]]:
    """One payout's journal in order."""
    with engine.connect() as connection:
        return _rows(connection, _EVENT, _EVENT.c.payout_id == payout_id)


def _rows(connection: Connection, table: Any, condition: Any) -> list[dict[str, Any]]:
    wanted = select(table).where(condition).order_by(table.c.id)
    return [dict(row) for row in connection.execute(wanted).mappings()]
