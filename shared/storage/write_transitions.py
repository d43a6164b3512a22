"""Writing transitions: payout row, journal event and outbox messages in one statement, or nothing.

A transition of a payout that exists is written only if the row still has the sequence and the
journal that the transition was made from (compare-and-set, law 7): after a restore an id may belong
to another payout (law 11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import psycopg
import structlog
from sqlalchemy import Connection, TextClause

from shared.domain import review
from shared.domain.accounts import account_key
from shared.domain.cap_usage import change_of_usage
from shared.domain.notifications import messages_for
from shared.domain.payout import PayoutState, Transition
from shared.domain.redaction import redact
from shared.storage.encryption import AccountCipher
from shared.storage.row_mapping import dumps, event_row, message_row, payout_row
from shared.storage.statements import (
    APPLY,
    APPLY_CAPPED,
    CHANGED,
    DRIVER,
    INSERT,
    INSERTED,
    LOCK_NUMBERS,
)

log = structlog.get_logger(__name__)

Execute = Callable[[TextClause, dict[str, str]], Iterable[tuple[int, int]]]
"""Runs INSERT or an APPLY; yields (index of the transition, payout id) for each one written."""


def on_cursor(cursor: psycopg.Cursor[Any]) -> Execute:
    """Run the statements on a cursor of the driver."""
    return lambda statement, values: cursor.execute(DRIVER[statement], values)


def lock_numbers(connection: Connection, payouts: Iterable[PayoutState]) -> None:
    """Let one transaction at a time insert payouts of these order numbers (law 10).

    With several accounts no index refuses a request that names no account, while another
    transaction inserts its number for another account. What is inserted after this call, in READ
    COMMITTED, is compared with all that was committed before it.
    """
    order_nos = sorted({payout.merchant_order_no for payout in payouts})
    connection.execute(LOCK_NUMBERS, {"order_nos": order_nos})


def insert_transitions(
    execute: Execute, transitions: Sequence[Transition], cipher: AccountCipher
) -> list[PayoutState | None]:
    """Insert new payouts. Of several with one order number the first is inserted.

    Of several that name different accounts each is; one that names none stands for an earlier one.

    Returns:
        For each transition the payout with its id, or None where the order number is taken.
    """
    first: dict[tuple[str, str], int] = {}
    numbers: set[str] = set()
    for nth, transition in enumerate(transitions):
        order_no = transition.after.merchant_order_no
        if transition.after.order_scope != "" or order_no not in numbers:
            first.setdefault((account_key(transition.after.epay_account), order_no), nth)
        numbers.add(order_no)
    tried = list(first.values())
    rows = [
        payout_row(transitions[nth].after, INSERTED)
        | {"account_no": cipher.encrypt(transitions[nth].after.account_no)}
        for nth in tried
    ]
    written = _write(execute, INSERT, rows, [transitions[nth] for nth in tried])
    ids = {tried[place]: payout_id for place, payout_id in written.items()}
    return [
        replace(transition.after, id=ids[nth]) if nth in ids else None
        for nth, transition in enumerate(transitions)
    ]


def apply_transitions(
    execute: Execute, transitions: Sequence[Transition], *, capped: bool = False
) -> dict[int, int]:
    """Update payouts, and what they give back to a day's cap.

    Args:
        execute: runs the statement.
        transitions: of payouts that exist.
        capped: whether a cap for a day counts what is sent now.

    Returns:
        The payout id by index, for each transition written; one whose row has changed is missing.
    """
    rows = [
        {
            "id": transition.after.id,
            "expected": transition.before.sequence if transition.before else 0,
            "was": transition.before.journal_hash if transition.before else "",
            "once": transition.skip_if_already_recorded,
            **payout_row(transition.after, CHANGED),
        }
        for transition in transitions
    ]
    sums = [
        {
            "nth": nth,
            "epay_account": account_key(transition.after.epay_account),
            "currency": transition.after.currency,
            "hour": change[0],
            "amount": change[1],
        }
        for nth, transition in enumerate(transitions)
        if (change := change_of_usage(transition)) and (capped or change[1] < 0)
    ]
    if not sums:
        return _write(execute, APPLY, rows, transitions)
    return _write(execute, APPLY_CAPPED, rows, transitions, sums=dumps(sums))


def log_new_reviews(committed: Iterable[Transition]) -> None:
    """Log one WARNING for each review reason that these transitions set, without account numbers.

    Call it after the commit: a transaction that is rolled back and run again logs once. If the
    reply to the commit is lost, nothing is logged. The same code with other words is not logged.
    """
    for transition in committed:
        before, after = transition.before, transition.after
        if after.review_reason is None:
            continue
        code, _, words = after.review_reason.partition(": ")
        if before is not None and review.code_of(before.review_reason or "") == code:
            continue
        log.warning(
            "review_reason_set",
            merchant_order_no=after.merchant_order_no,
            status=after.status.value,
            code=code,
            words=redact(words, after.account_no),
        )


def _write(
    execute: Execute,
    statement: TextClause,
    rows: list[dict[str, Any]],
    transitions: Sequence[Transition],
    **more: str,
) -> dict[int, int]:
    events = [
        {"nth": nth, **event_row(transition.event)}
        for nth, transition in enumerate(transitions)
        if transition.event
    ]
    messages = [
        {"nth": nth, **message_row(message, transition.after.updated_at)}
        for nth, transition in enumerate(transitions)
        for message in messages_for(transition)
    ]
    values = {
        "rows": dumps([{"nth": nth, **row} for nth, row in enumerate(rows)]),
        "events": dumps(events),
        "messages": dumps(messages),
        **more,
    }
    return dict(iter(execute(statement, values)))  # a result of SQLAlchemy has keys too
