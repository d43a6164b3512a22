"""Insert payouts within the caller's transaction, or compare them with those that exist.

Used where payouts are requested without a worker: by the producer and by `payouts batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, text

from shared.domain import lifecycle
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.intake import conflicting_fields, standing_for
from shared.domain.payout import PayoutState
from shared.identifiers import without_ruin
from shared.storage.encryption import AccountCipher
from shared.storage.row_mapping import payout_from_row
from shared.storage.statements import PAYOUT
from shared.storage.tables import WITHOUT_RUIN
from shared.storage.write_transitions import insert_transitions, lock_numbers

_EXISTING = (
    select(PAYOUT)
    .where(text("merchant_order_no = ANY(CAST(:order_nos AS text[]))"))
    .order_by(PAYOUT.c.id)
)

_ALIKE = select(PAYOUT.c.merchant_order_no).where(
    text(f"{WITHOUT_RUIN} = ANY(CAST(:keys AS text[]))")
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
    accounts: ConfiguredAccounts,
) -> list[IntakeResult]:
    """Insert the payouts as queued; an existing payout of the same order number is not changed.

    Waits for another open transaction that inserted the same order number.

    Args:
        due_at: from when on the sweep dispatches the new ones.

    Raises:
        LookupError: an order number is refused as taken, and no payout has it.
    """
    if len(accounts.accounts) > 1:
        lock_numbers(connection, wanted)
    transitions = [lifecycle.accept_queued(payout, now=now, due_at=due_at) for payout in wanted]
    inserted = insert_transitions(connection.execute, transitions, cipher)
    repeated = [payout for payout, new in zip(wanted, inserted, strict=True) if new is None]
    existing = iter(find_existing(connection, repeated, cipher))
    return [
        IntakeResult(new, is_new=True)
        if new is not None
        else compare_with_existing(_found(next(existing), payout), payout, accounts)
        for payout, new in zip(wanted, inserted, strict=True)
    ]


def _found(existing: PayoutState | None, wanted: PayoutState) -> PayoutState:
    if existing is None:
        raise LookupError(
            f"the database refused order number {wanted.merchant_order_no} as taken, and has no"
            " payout of it: nothing was stored"
        )
    return existing


def compare_with_existing(
    existing: PayoutState, wanted: PayoutState, accounts: ConfiguredAccounts
) -> IntakeResult:
    """The result of a request whose order number belongs to an existing payout."""
    conflicting = conflicting_fields(existing, wanted, accounts)
    return IntakeResult(existing, is_new=False, conflicting=tuple(conflicting))


def find_existing(
    connection: Connection, wanted: Sequence[PayoutState], cipher: AccountCipher
) -> list[PayoutState | None]:
    """For each request of `wanted` the existing payout that it stands for, or None."""
    if not wanted:
        return []
    values = {"order_nos": [payout.merchant_order_no for payout in wanted]}
    same_number: dict[str, list[PayoutState]] = {}
    for row in connection.execute(_EXISTING, values):
        found = payout_from_row(row, cipher)
        same_number.setdefault(found.merchant_order_no, []).append(found)
    return [
        standing_for(payout, same_number.get(payout.merchant_order_no, ())) for payout in wanted
    ]


def find_alike(connection: Connection, wanted: Sequence[PayoutState]) -> dict[str, str]:
    """Which order numbers of `wanted` equal another stored one, of any account, but for ruin.

    A number that is stored itself is left out.

    Returns:
        The wanted number -> the stored one.
    """
    if not wanted:
        return {}
    order_nos = {payout.merchant_order_no for payout in wanted}
    values = {"keys": list(map(without_ruin, order_nos))}
    stored = {row.merchant_order_no for row in connection.execute(_ALIKE, values)}
    by_key = {without_ruin(order_no): order_no for order_no in sorted(stored)}
    return {
        order_no: by_key[key]
        for order_no in order_nos - stored
        if (key := without_ruin(order_no)) in by_key
    }
