"""A row edited or an event removed behind our back with SQL is named."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from shared.storage import journal_audit
from shared.storage.encryption import NO_ENCRYPTION
from tests.integration.conftest import World


@pytest.fixture
def ended(world: World) -> World:
    """Three payouts with a history, and triggers out of the way as only a superuser can."""
    for nth in range(3):
        world.ask(f"order-{nth}", remark="sandbox:accept_then_500", extend_fields={"b": "1"})
    return world


def broken(world: World, statement: str) -> list[journal_audit.ChainBreak]:
    with world.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(statement))
    return [
        found
        for found in journal_audit.audit_chains(world.engine, NO_ENCRYPTION)
        if found is not None
    ]


def test_untouched_chains_hold(ended: World) -> None:
    """What the service wrote itself is whole."""
    assert list(journal_audit.audit_chains(ended.engine, NO_ENCRYPTION)) == [None, None, None]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("amount = 99", "the row is not as its last event left it"),
        ("account_no = 'U999'", "the row is not as its last event left it"),
        ("fee = 1", "the row is not as its last event left it"),
        ("remark = NULL", "the row is not as its last event left it"),
        ("status = 'processing'", "the row is not as its last event left it"),
        ("journal_hash = 'x'", "the row names another last event"),
        ("merchant_order_no = 'other'", "is not what was written"),
    ],
)
def test_an_edited_row_is_named(ended: World, change: str, what: str) -> None:
    """Every field that an event fixes is covered; the clock is not."""
    found = broken(ended, f"UPDATE payout SET {change} WHERE merchant_order_no = 'order-1'")
    assert [one.what for one in found] == [what]
    assert found[0].merchant_order_no in {"order-1", "other"}


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("UPDATE payout_event SET detail = '{}'", 1),
        ("UPDATE payout_event SET actor = 'me'", 1),
        ("UPDATE payout_event SET at = at + interval '1 second'", 1),
        ("UPDATE payout_event SET row_hash = 'x'", 1),
        ("DELETE FROM payout_event", 1),
    ],
)
def test_an_edited_or_removed_event_is_named(ended: World, statement: str, sequence: int) -> None:
    """The first event of order-1 is changed or removed: it is the one that is named."""
    condition = (
        " WHERE sequence = 1 AND payout_id ="
        " (SELECT id FROM payout WHERE merchant_order_no = 'order-1')"
    )
    found = broken(ended, statement + condition)
    assert [(one.merchant_order_no, one.sequence) for one in found] == [("order-1", sequence)]


def test_a_removed_last_event_is_named(ended: World) -> None:
    """The row counts its events, so that the end of a chain cannot be cut off."""
    found = broken(
        ended,
        "DELETE FROM payout_event WHERE (payout_id, sequence) ="
        " (SELECT id, sequence FROM payout WHERE merchant_order_no = 'order-2')",
    )
    assert [one.merchant_order_no for one in found] == ["order-2"]
    assert "missing" in found[0].what
