"""A batch with one row in a hundred bad, in ten ways."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

HEADER = (
    "merchant_order_no",
    "amount",
    "currency",
    "channel_code",
    "account_no",
    "remark",
    "epay_account",
)
Cells = dict[str, str]


@dataclass
class BatchFile:
    """The file, and what is to be said of it."""

    path: Path
    good: list[str] = field(default_factory=list)
    """Order numbers of the good rows."""
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By row: the column, and what its reason has in it."""
    total: Decimal = Decimal(0)


def _with(column: str, value: str) -> Callable[[Cells], Cells]:
    return lambda cells: cells | {column: value}


_WAYS: list[tuple[Callable[[Cells], Cells], str, str]] = [
    (_with("amount", "1e5"), "amount", "not a plain decimal"),
    (_with("amount", "0.00"), "amount", "above zero"),
    (_with("amount", "1.005"), "amount", "decimal places"),
    (_with("currency", "usd"), "currency", "capitals"),
    (_with("merchant_order_no", "a b"), "merchant_order_no", "letters, digits"),
    (_with("account_no", ""), "account_no", "is empty"),
    (_with("channel_code", "1 1"), "channel_code", "channel code"),
    (_with("epay_account", "other@epay.com"), "epay_account", "not the account"),
    (_with("remark", "to\u202eme"), "remark", "cannot be printed"),
    (lambda cells: cells, "merchant_order_no", "is also the order number of row 2"),
]


def make_batch(path: Path, rows: int, prefix: str) -> BatchFile:
    """Write so many rows, the 100th, 200th, ... of them bad."""
    made = BatchFile(path)
    first = f"{prefix}-000000"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        for nth in range(rows):
            cents = 100 + nth % 900
            cells = dict.fromkeys(HEADER, "") | {
                "merchant_order_no": f"{prefix}-{nth:06d}",
                "amount": f"{cents // 100}.{cents % 100:02d}",
                "currency": "USD" if nth % 3 else "EUR",
                "channel_code": "11",
                "account_no": f"00{nth:010d}",
            }
            if (nth + 1) % 100 == 0:
                spoil, column, reason = _WAYS[nth // 100 % len(_WAYS)]
                spoilt = spoil(cells)
                if spoilt is cells:
                    spoilt = cells | {"merchant_order_no": first}
                made.bad[nth + 2] = (column, reason)
                cells = spoilt
            else:
                made.good.append(cells["merchant_order_no"])
                made.total += Decimal(cells["amount"])
            writer.writerow(cells)
    return made
