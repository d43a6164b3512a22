"""Holding the rows of a batch against the payouts that are on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Engine

from ops.batch.row_validation import Line, RowVerdict, conflicting
from shared.domain.payout import PayoutState
from shared.storage.bulk_insert import IntakeResult, compare_with_existing, find_existing
from shared.storage.encryption import AccountCipher


def against_history(engine: Engine, vault: AccountCipher, lines: Sequence[Line]) -> list[Line]:
    """The lines, each with what was asked for before under its order number."""
    asked = good(lines)
    with engine.connect() as connection:
        there = find_existing(connection, asked, vault)
    found = {
        no: compare_with_existing(there[no], payout)
        for no, payout in by_order(asked)
        if no in there
    }
    return [_seen(line, found) for line in lines]


def answered(lines: Sequence[Line], admitted: Sequence[IntakeResult]) -> list[Line]:
    """The lines after their payouts were taken in, or found taken."""
    found = {one.payout.merchant_order_no: one for one in admitted}
    return [_seen(line, found) for line in lines]


def good(lines: Sequence[Line]) -> list[PayoutState]:
    """The payouts of the lines in which nothing is wrong."""
    return [line.payout for line in lines if line.payout is not None and not line.problems]


def by_order(payouts: Sequence[PayoutState]) -> list[tuple[str, PayoutState]]:
    """The payouts with their order numbers."""
    return [(payout.merchant_order_no, payout) for payout in payouts]


def _seen(line: Line, found: dict[str, IntakeResult]) -> Line:
    if line.payout is None or line.problems or line.payout.merchant_order_no not in found:
        return line
    one = found[line.payout.merchant_order_no]
    if one.conflicting:
        return conflicting(line, one.payout, one.conflicting)
    said = RowVerdict.ACCEPTED if one.is_new else RowVerdict.THERE
    return replace(line, said=said, status=one.payout.status.value)
