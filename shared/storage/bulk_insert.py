"""Insert payouts within the caller's transaction, or compare them with those that exist.

Used where payouts are requested without a worker: by the producer and by `payouts batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, text

from shared.domain import lifecycle
from shared.domain.intake import conflicting_fields
from shared.domain.payout import PayoutState
from shared.identifiers import without_ruin
from shared.storage.encryption import AccountCipher
from shared.storage.row_mapping import payout_from_row
from shared.storage.statements import PAYOUT
from shared.storage.tables import WITHOUT_RUIN
from shared.storage.write_transitions import insert_transitions

_EXISTING = select(PAYOUT).where(
    text("epay_account = :account AND merchant_order_no = ANY(CAST(:order_nos AS text[]))")
)

_ALIKE = select(PAYOUT.c.merchant_order_no).where(
    text(f"epay_account = :account AND {WITHOUT_RUIN} = ANY(CAST(:keys AS text[]))")
)


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """The payout of one request, as it is now."""

    payout: PayoutState
    is_new: bool
    conflicting: Sequence[str] = ()
    """The fields in which the request differs from the existing payout of its order number."""


def insert_or_compare(
    connection: Connection,
    wanted: Sequence[PayoutState],
    *,
    now: datetime,
    due_at: datetime,
    cipher: AccountCipher,
) -> list[IntakeResult]:
    """Insert the payouts as queued; an existing payout of the same order number is not changed.

    Waits for another open transaction that inserted the same order number.

    Args:
        wanted: payouts of one EPAY account.
        due_at: from when on the sweep dispatches the new ones.
    """
    transitions = [lifecycle.accept_queued(payout, now=now, due_at=due_at) for payout in wanted]
    inserted = insert_transitions(connection.execute, transitions, cipher)
    repeated = [payout for payout, new in zip(wanted, inserted, strict=True) if new is None]
    existing = find_existing(connection, repeated, cipher)
    return [
        IntakeResult(new, is_new=True)
        if new is not None
        else compare_with_existing(existing[payout.merchant_order_no], payout)
        for payout, new in zip(wanted, inserted, strict=True)
    ]


def compare_with_existing(existing: PayoutState, wanted: PayoutState) -> IntakeResult:
    """The result of a request whose order number belongs to an existing payout."""
    return IntakeResult(
        existing, is_new=False, conflicting=tuple(conflicting_fields(existing, wanted))
    )


def find_existing(
    connection: Connection, wanted: Sequence[PayoutState], cipher: AccountCipher
) -> dict[str, PayoutState]:
    """The existing payouts with the order numbers of `wanted` (one EPAY account), by number."""
    if not wanted:
        return {}
    values = {
        "account": wanted[0].epay_account,
        "order_nos": [payout.merchant_order_no for payout in wanted],
    }
    found = [payout_from_row(row, cipher) for row in connection.execute(_EXISTING, values)]
    return {payout.merchant_order_no: payout for payout in found}


def find_alike(connection: Connection, wanted: Sequence[PayoutState]) -> dict[str, str]:
    """Which order numbers of `wanted` (one EPAY account) equal another stored one but for ruin.

    A number that is stored itself is left out.

    Returns:
        The wanted number -> the stored one.
    """
    if not wanted:
        return {}
    order_nos = {payout.merchant_order_no for payout in wanted}
    values = {
        "account": wanted[0].epay_account,
        "keys": list(map(without_ruin, order_nos)),
    }
    stored = {row.merchant_order_no for row in connection.execute(_ALIKE, values)}
    by_key = {without_ruin(order_no): order_no for order_no in sorted(stored)}
    return {
        order_no: by_key[key]
        for order_no in order_nos - stored
        if (key := without_ruin(order_no)) in by_key
    }
