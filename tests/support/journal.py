"""The hashes of a payout's journal, computed without the code under test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.domain.payout import JournalEvent, PayoutState, Transition

MOVING = ("id", "sequence", "journal_hash", "due_at", "queries", "updated_at")
"""Fields that no event records: when the payout is due, and the journal itself."""


def sha256_of(text: str) -> str:
    """The hash of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(fields_of: dict[str, Any]) -> str:
    """Sorted JSON, as the journal hashes it."""

    def plain(value: object) -> str:
        if isinstance(value, datetime):
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
        assert isinstance(value, Decimal)
        text = str(value)
        return text.rstrip("0").rstrip(".") if "." in text else text

    return json.dumps(
        fields_of, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain
    )


def independent_row_hash(payout: PayoutState) -> str:
    """The digest of a payout in the journal."""
    names = [field.name for field in fields(PayoutState) if field.name not in MOVING]
    values = {name: getattr(payout, name) for name in names}
    for name in ("released_at", "epay_gateway", "order_scope"):
        if not values[name]:
            del values[name]  # the column is younger than the first journals
    return sha256_of(canonical(values))


def independent_hash(event: JournalEvent, payout: PayoutState) -> str:
    """The hash that an event must have."""
    body = {
        "epay_account": payout.epay_account,
        "merchant_order_no": payout.merchant_order_no,
        "sequence": event.sequence,
        "kind": event.kind,
        "actor": event.actor,
        "at": event.at,
        "status_before": None if event.status_before is None else event.status_before.value,
        "status_after": event.status_after.value,
        "detail": event.detail,
        "row_hash": event.row_hash,
    }
    return sha256_of(event.previous_hash + "\n" + canonical(body))


def assert_chained(transitions: Iterable[Transition]) -> None:
    """Every event follows the one before it, by number and by hash."""
    sequence, previous = 0, "0" * 64
    for transition in transitions:
        if transition.event is None:
            continue
        assert transition.event.sequence == sequence + 1
        assert transition.event.previous_hash == previous
        assert transition.event.row_hash == independent_row_hash(transition.after)
        assert transition.event.hash == independent_hash(transition.event, transition.after)
        assert (transition.after.sequence, transition.after.journal_hash) == (
            transition.event.sequence,
            transition.event.hash,
        )
        sequence, previous = transition.event.sequence, transition.event.hash
