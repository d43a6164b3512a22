"""Taking in payouts within a transaction that somebody else began: new, already there, or not so.

For who reaches the database without a worker: an app's own transaction, and a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, text

from shared.domain import lifecycle
from shared.domain.intake import conflicting_fields
from shared.domain.payout import PayoutState
from shared.storage.encryption import AccountCipher
from shared.storage.payout_store import insert_within
from shared.storage.row_mapping import payout_from_row
from shared.storage.statements import PAYOUT

_STANDING = select(PAYOUT).where(
    text("epay_account = :account AND merchant_order_no = ANY(CAST(:order_nos AS text[]))")
)


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """One payout that was asked for, as it stands now."""

    payout: PayoutState
    is_new: bool
    conflicting: Sequence[str] = ()
    """The fields in which the request is not the payout that has its order number."""


def insert_or_compare(
    connection: Connection,
    wanted: Sequence[PayoutState],
    *,
    now: datetime,
    due_at: datetime,
    vault: AccountCipher,
) -> list[IntakeResult]:
    """Put the payouts on disk, queued; nothing changes where an order number is taken.

    Waits while another transaction holds the same order number and has not ended.

    Args:
        wanted: of one EPAY account.
        due_at: when the sweep is to look at the new ones.
    """
    steps = [lifecycle.accept_queued(payout, now=now, due_at=due_at) for payout in wanted]
    taken = insert_within(connection, steps, vault)
    repeated = [payout for payout, new in zip(wanted, taken, strict=True) if new is None]
    there = find_existing(connection, repeated, vault)
    return [
        IntakeResult(new, is_new=True)
        if new is not None
        else compare_with_existing(there[payout.merchant_order_no], payout)
        for payout, new in zip(wanted, taken, strict=True)
    ]


def compare_with_existing(standing: PayoutState, wanted: PayoutState) -> IntakeResult:
    """What a request is to the payout that has its order number."""
    return IntakeResult(
        standing, is_new=False, conflicting=tuple(conflicting_fields(standing, wanted))
    )


def find_existing(
    connection: Connection, wanted: Sequence[PayoutState], vault: AccountCipher
) -> dict[str, PayoutState]:
    """The payouts that have those order numbers now, by order number. All of one EPAY account."""
    if not wanted:
        return {}
    values = {
        "account": wanted[0].epay_account,
        "order_nos": [payout.merchant_order_no for payout in wanted],
    }
    found = [payout_from_row(row, vault) for row in connection.execute(_STANDING, values)]
    return {payout.merchant_order_no: payout for payout in found}
