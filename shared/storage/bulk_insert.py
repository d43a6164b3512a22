"""Taking in payouts within a transaction that somebody else began: new, already there, or not so.

For who reaches the database without a worker: an app's own transaction, and a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, text

from shared.domain import lifecycle
from shared.domain.intake import differing
from shared.domain.payout import PayoutState
from shared.storage.encryption import Vault
from shared.storage.payout_store import accept_on
from shared.storage.row_mapping import state_of
from shared.storage.statements import PAYOUT

_STANDING = select(PAYOUT).where(
    text("epay_account = :account AND merchant_order_no = ANY(CAST(:order_nos AS text[]))")
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """One payout that was asked for, as it stands now."""

    payout: PayoutState
    is_new: bool
    differing: Sequence[str] = ()
    """The fields in which the request is not the payout that has its order number."""


def admit_on(
    connection: Connection,
    wanted: Sequence[PayoutState],
    *,
    now: datetime,
    due_at: datetime,
    vault: Vault,
) -> list[Admitted]:
    """Put the payouts on disk, queued; nothing changes where an order number is taken.

    Waits while another transaction holds the same order number and has not ended.

    Args:
        wanted: of one EPAY account.
        due_at: when the sweep is to look at the new ones.
    """
    steps = [lifecycle.enqueue(payout, now=now, due_at=due_at) for payout in wanted]
    taken = accept_on(connection, steps, vault)
    repeated = [payout for payout, new in zip(wanted, taken, strict=True) if new is None]
    there = standing_on(connection, repeated, vault)
    return [
        Admitted(new, is_new=True)
        if new is not None
        else compared(there[payout.merchant_order_no], payout)
        for payout, new in zip(wanted, taken, strict=True)
    ]


def compared(standing: PayoutState, wanted: PayoutState) -> Admitted:
    """What a request is to the payout that has its order number."""
    return Admitted(standing, is_new=False, differing=tuple(differing(standing, wanted)))


def standing_on(
    connection: Connection, wanted: Sequence[PayoutState], vault: Vault
) -> dict[str, PayoutState]:
    """The payouts that have those order numbers now, by order number. All of one EPAY account."""
    if not wanted:
        return {}
    values = {
        "account": wanted[0].epay_account,
        "order_nos": [payout.merchant_order_no for payout in wanted],
    }
    found = [state_of(row, vault) for row in connection.execute(_STANDING, values)]
    return {payout.merchant_order_no: payout for payout in found}
