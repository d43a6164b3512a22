"""Mapping between the domain's payouts, events and messages and their rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row

from shared.contract import AMOUNT_SCALE
from shared.domain.notifications import Message
from shared.domain.payout import JournalEvent, PayoutState, Status, UnreadableAccount
from shared.storage.encryption import AccountCipher, CipherError

_EVENT_FIELDS = [field.name for field in fields(JournalEvent)]


def payout_from_row(row: Row[Any], cipher: AccountCipher) -> PayoutState:
    """The domain's payout of a row of the payout table; its account number may be unreadable."""
    values = dict(zip(row._fields, row, strict=True))
    values["status"] = Status(values["status"])
    values["absences"] = tuple(values["absences"])
    values["account_no"] = open_account(values["account_no"], cipher)
    return PayoutState(**values)


def open_account(stored: str, cipher: AccountCipher) -> str:
    """The account number, or an `UnreadableAccount`: one bad row costs only itself (law 15)."""
    try:
        return cipher.decrypt(stored)
    except CipherError:
        return UnreadableAccount(stored)


def payout_row(payout: PayoutState, names: Sequence[str]) -> dict[str, Any]:
    """The named columns of a payout.

    Raises:
        ValueError: the amount has more decimal places than the column stores.
    """
    if payout.amount != round(payout.amount, AMOUNT_SCALE):
        raise ValueError(f"the amount of {payout.merchant_order_no} would not be stored exactly")
    return {name: getattr(payout, name) for name in names}


def event_from_row(row: Mapping[Any, Any]) -> JournalEvent:
    """The domain's event of a row of the journal, or of an archived one."""
    values = {name: row[name] for name in _EVENT_FIELDS}
    before, at = values["status_before"], values["at"]
    values["status_before"] = None if before is None else Status(before)
    values["status_after"] = Status(values["status_after"])
    values["at"] = datetime.fromisoformat(at) if isinstance(at, str) else at
    return JournalEvent(**values)


def event_row(event: JournalEvent) -> dict[str, Any]:
    """The columns of an event, without the payout's id."""
    return {name: getattr(event, name) for name in _EVENT_FIELDS}


def message_row(message: Message, now: datetime) -> dict[str, Any]:
    """The columns of an outbox message, without the payout's id."""
    return {
        "task": message.task,
        "queue": message.queue,
        "kwargs": message.kwargs,
        "created_at": now,
    }


def to_json_text(value: object) -> str:
    """A datetime or Decimal as JSON text; `default` of a JSON encoder."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a row")


dumps = json.JSONEncoder(default=to_json_text, ensure_ascii=False, separators=(",", ":")).encode
"""Encodes rows as the JSON that INSERT and APPLY take."""
