"""Comparing the rows of a batch with the stored payouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Engine

from ops.batch.row_validation import Line, RowVerdict, conflicting
from shared.domain.payout import PayoutState
from shared.storage.bulk_insert import IntakeResult, compare_with_existing, find_existing
from shared.storage.encryption import AccountCipher


def compare_with_stored(engine: Engine, cipher: AccountCipher, lines: Sequence[Line]) -> list[Line]:
    """The lines, each compared with the stored payout of its order number."""
    requested = good(lines)
    with engine.connect() as connection:
        stored = find_existing(connection, requested, cipher)
    results = [
        compare_with_existing(stored[payout.merchant_order_no], payout)
        for payout in requested
        if payout.merchant_order_no in stored
    ]
    return with_results(lines, results)


def with_results(lines: Sequence[Line], results: Sequence[IntakeResult]) -> list[Line]:
    """The lines with the results of the intake."""
    found = {one.payout.merchant_order_no: one for one in results}
    return [_with_result(line, found) for line in lines]


def good(lines: Sequence[Line]) -> list[PayoutState]:
    """The payouts of the lines without errors."""
    return [line.payout for line in lines if line.payout is not None and not line.problems]


def _with_result(line: Line, found: dict[str, IntakeResult]) -> Line:
    if line.payout is None or line.problems or line.payout.merchant_order_no not in found:
        return line
    one = found[line.payout.merchant_order_no]
    if one.conflicting:
        return conflicting(line, one.payout, one.conflicting)
    verdict = RowVerdict.ACCEPTED if one.is_new else RowVerdict.THERE
    return replace(line, verdict=verdict, status=one.payout.status.value)
