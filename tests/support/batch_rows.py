"""Rows of a batch that a test writes as text, and what the validation makes of them."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from ops.batch.csv_reader import Sheet
from ops.batch.row_validation import Line, RowValidator
from shared.domain.accounts import ConfiguredAccounts

ACCOUNT = "test2020@epay.com"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HEADER = "merchant_order_no,amount,currency,channel_code,account_no"


def sheet(text: str | bytes) -> Sheet:
    """The text as an open file."""
    return Sheet(io.BytesIO(text if isinstance(text, bytes) else text.encode()))


def lines(text: str | bytes, *, allow_alike: bool = False) -> list[Line]:
    """The result for each row of the text, whose first line is the header."""
    table = sheet(text)
    validator = RowValidator(ConfiguredAccounts.one(ACCOUNT), NOW, allow_alike=allow_alike)
    return [validator.validate(row) for row in table.rows()]


def validated(row: str, header: str = HEADER) -> Line:
    """The result for one row."""
    (line,) = lines(f"{header}\n{row}\n")
    return line
