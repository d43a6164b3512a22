"""Steps are taken all or nothing, each from the state it was made of."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, OperationalError

from shared.domain import lifecycle
from shared.domain.gateway import OutcomeUnknown
from shared.domain.payout import PayoutState, Transition
from shared.storage.engine import is_transient, make_engine
from shared.storage.payout_store import PayoutStore
from tests.support.stored_payouts import NOW, POLICY, accepted, accepting, new, succeeded


def test_what_was_accepted_is_read_back_as_it_was(store: PayoutStore) -> None:
    """Every field of a payout survives the way to disk and back."""
    payout = accepted(store)
    assert store.find("shop@epay.com", "o-1") == payout


def test_a_batch_is_accepted_row_by_row(store: PayoutStore) -> None:
    """In a batch the taken number alone is refused."""
    accepted(store, "o-1")
    steps = [
        lifecycle.accept(new(no), claim_id="d", now=NOW, policy=POLICY)
        for no in ("o-0", "o-1", "o-2")
    ]
    assert [payout is not None for payout in store.insert(steps)] == [True, False, True]


def test_a_step_is_taken_only_from_what_it_was_made_of(store: PayoutStore) -> None:
    """Compare-and-set (law 7): of two steps from the same state one is taken."""
    payout = accepted(store)
    first = lifecycle.on_create_answer(
        payout, OutcomeUnknown("x"), claim_id="c", now=NOW, policy=POLICY, jitter=0
    )
    assert store.apply(first) is not None
    assert store.apply(succeeded(payout)) is None
    assert store.find("shop@epay.com", "o-1") == first.after


def test_a_step_is_not_taken_by_another_payout_of_the_same_id(store: PayoutStore) -> None:
    """Law 11: after a restore an id may be given again; the journal tells the two apart."""
    payout = accepted(store)
    stale = replace(payout, journal_hash="0" * 64)
    step = succeeded(stale)
    assert step.before is not None
    assert step.before.sequence == payout.sequence
    assert store.apply(step) is None
    assert store.find(payout.epay_account, payout.merchant_order_no) == payout


def test_row_event_and_message_come_together(store: PayoutStore) -> None:
    """Law 7 and 8: one commit holds the end, its event and its message."""
    payout = accepted(store)
    store.apply(succeeded(payout))
    with store.engine.connect() as connection:
        events = connection.execute(
            text("SELECT sequence, status_before, status_after FROM payout_event ORDER BY id")
        ).all()
        told = connection.execute(
            text("SELECT kwargs ->> 'status' FROM payout_outbox ORDER BY id")
        ).scalars()
        assert [tuple(row) for row in events] == [
            (1, None, "submitting"),
            (2, "submitting", "succeeded"),
        ]
        assert list(told) == ["submitting", "succeeded"]


def test_a_fee_is_stored_exactly(store: PayoutStore) -> None:
    """A fee may have more decimals than an amount, and loses none."""
    payout = accepted(store)
    store.apply(succeeded(payout))
    found = store.find("shop@epay.com", "o-1")
    assert found is not None
    assert found.fee == Decimal("0.125")


def test_an_amount_that_would_be_rounded_is_refused(store: PayoutStore) -> None:
    """NUMERIC rounds in silence; the store does not let it come to that."""
    with pytest.raises(ValueError, match="would not be stored exactly"):
        accepted(store, amount=Decimal("12.345"))


def test_a_decision_that_fails_changes_nothing(store: PayoutStore) -> None:
    """An error while deciding leaves the row as it was."""
    payout = accepted(store)

    def broken(_payout: PayoutState) -> Transition:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.update(payout.id, broken)
    assert store.find("shop@epay.com", "o-1") == payout


def test_an_unknown_payout_is_none(store: PayoutStore) -> None:
    """There is no row to find or change."""
    never: Callable[[PayoutState], Transition | None] = lambda _payout: None  # noqa: E731
    assert store.find("shop@epay.com", "nope") is None
    assert store.update(99, never) is None


def test_what_comes_at_the_same_moment_is_accepted_one_by_one(store: PayoutStore) -> None:
    """64 threads, half of them with a number that another has too: each gets its own answer."""
    numbers = [f"order-{nth % 48}" for nth in range(64)]
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda no: store.insert([accepting(no)])[0], numbers))
    taken = [(no, payout) for no, payout in zip(numbers, found, strict=True) if payout]
    assert sorted(no for no, _ in taken) == sorted(set(numbers))
    for no, payout in taken:
        standing = store.find(payout.epay_account, no)
        assert standing is not None
        assert standing.id == payout.id
        assert standing.journal_hash == payout.journal_hash


def test_an_amount_that_would_be_rounded_fails_alone(store: PayoutStore) -> None:
    """Whoever goes with it is accepted all the same."""

    def accept(nth: int) -> str:
        step = accepting(f"order-{nth}")
        if nth % 8 == 0:
            step = replace(step, after=replace(step.after, amount=Decimal("1.005")))
        try:
            return "accepted" if store.insert([step])[0] else "duplicate"
        except ValueError:
            return "refused"

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(accept, range(32)))
    assert answers == ["refused" if nth % 8 == 0 else "accepted" for nth in range(32)]


def test_an_error_of_the_driver_is_one_of_sqlalchemys(store: PayoutStore) -> None:
    """And it repeats no value: an account number could stand there."""
    step = accepting("order-1")
    wrong = replace(step, after=replace(step.after, nonce="secret-\x00"))
    with pytest.raises(DataError) as caught:
        store.insert([wrong])
    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.__cause__)
    assert store.insert([step])[0] is not None


def test_a_connection_that_was_cut_is_not_used_again(store: PayoutStore, database_url: str) -> None:
    """The error says that it may go again, and it does on another connection."""
    assert store.insert([accepting("order-1")])[0] is not None
    other = make_engine(database_url, pool_size=1)
    with other.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()
    with pytest.raises(OperationalError) as caught:
        store.insert([accepting("order-2")])
    assert is_transient(caught.value)
    assert store.insert([accepting("order-2")])[0] is not None
