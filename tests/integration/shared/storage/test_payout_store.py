"""What the database itself holds, and that steps are taken all or nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from devstack.wait import wait_for
from shared.domain import lifecycle, reports
from shared.domain.accounts import account_key
from shared.domain.gateway import OutcomeUnknown
from shared.domain.notifications import Message
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.storage import migrate, payout_store
from shared.storage.encryption import NO_ENCRYPTION
from shared.storage.engine import is_transient, make_engine
from shared.storage.payout_store import _CAP_LOCK, PayoutStore
from shared.storage.statements import CAP_LOCK, account_key_sql
from shared.storage.tables import metadata
from shared.storage.write_transitions import insert_transitions
from tests.support.factories import make_report, make_service_payout

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = Policy()
NOTIFY = {"task": "t", "queue": "q", "on": ["accepted", "final"]}


def new(order_no: str = "o-1", **changes: Any) -> PayoutState:
    fields = {"epay_account": "shop@epay.com", "extend_fields": {"a": "b"}, "notify": NOTIFY}
    return make_service_payout(order_no, NOW, **(fields | changes))


def accepted(store: PayoutStore, order_no: str = "o-1", **changes: object) -> PayoutState:
    step = lifecycle.accept(new(order_no, **changes), claim_id="c", now=NOW, policy=POLICY)
    payout = store.insert([step])[0]
    assert payout is not None
    return payout


def accepting(order_no: str) -> Transition:
    return lifecycle.accept(new(order_no), claim_id="c", now=NOW, policy=POLICY)


def succeeded(payout: PayoutState) -> Transition:
    report = make_report("7", payout=payout, epay_order_no="E1", fee=Decimal("0.125"))
    return reports.on_callback(payout, report, now=NOW, policy=POLICY, jitter=0)


def test_the_migrated_schema_is_the_models_schema(engine: Engine) -> None:
    """Alembic finds no difference between the migrations and the tables in the code."""
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert migrate.current(engine) == migrate.newest()


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    """`payouts migrate` can be run again."""
    assert migrate.upgrade(database_url) == (migrate.newest(), migrate.newest())


def test_python_and_postgresql_compare_accounts_alike(engine: Engine) -> None:
    """Every character that an account may have, and white space around it."""
    names = [f" \t{chr(code)}Shop@EPAY.com\r\n" for code in range(0x21, 0x7F)]
    key = account_key_sql("a").replace("a.epay_account", "a")
    with engine.connect() as connection:
        found = connection.execute(
            text(f"SELECT a, {key} FROM unnest(CAST(:names AS text[])) AS a"), {"names": names}
        )
        assert dict(found.all()) == {one: account_key(one) for one in names}


def test_what_was_accepted_is_read_back_as_it_was(store: PayoutStore) -> None:
    """Every field of a payout survives the way to disk and back."""
    payout = accepted(store)
    assert store.find("shop@epay.com", "o-1") == payout


def test_a_merchant_order_no_is_accepted_once(store: PayoutStore) -> None:
    """The second accept of the same number is refused, and writes neither event nor message."""
    accepted(store)
    step = lifecycle.accept(new(), claim_id="d", now=NOW, policy=POLICY)
    assert store.insert([step]) == [None]
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM payout_event")).scalar_one() == 1
        assert connection.execute(text("SELECT count(*) FROM payout_outbox")).scalar_one() == 1


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


@pytest.mark.parametrize(
    "change",
    [
        "amount = 0",
        "amount = -1",
        "status = 'paid'",
        "due_at = NULL",
        "status = 'succeeded', finished_at = now()",
        "status = 'succeeded', due_at = NULL",
        "claim_id = NULL",
        "sequence = 0",
        "review_reason = 'overdue: x'",
    ],
)
def test_the_database_refuses_what_must_not_be(store: PayoutStore, change: str) -> None:
    """Each invariant is a constraint, whoever writes."""
    accepted(store)
    with pytest.raises(IntegrityError), store.engine.begin() as connection:
        connection.execute(text(f"UPDATE payout SET {change}"))


def test_final_is_final_in_the_database_too(store: PayoutStore) -> None:
    """Law 5 holds against plain SQL."""
    store.apply(succeeded(accepted(store)))
    with pytest.raises(IntegrityError, match="final is final"), store.engine.begin() as connection:
        connection.execute(
            text("UPDATE payout SET status = 'queued', due_at = now(), finished_at = NULL")
        )


@pytest.mark.parametrize(
    "statement",
    ["UPDATE payout_event SET actor = 'x'", "DELETE FROM payout_event", "TRUNCATE payout_event"],
)
def test_the_journal_is_append_only(store: PayoutStore, statement: str) -> None:
    """Events are neither changed nor removed (law 7)."""
    accepted(store)
    with pytest.raises(IntegrityError, match="append-only"), store.engine.begin() as connection:
        connection.execute(text(statement))


def test_claiming_what_is_due_moves_due_at_ahead(store: PayoutStore) -> None:
    """The sweep's claim is a lease: what it took is not due again until then."""
    store.apply(
        lifecycle.on_create_answer(
            accepted(store), OutcomeUnknown("x"), claim_id="c", now=NOW, policy=POLICY, jitter=0
        )
    )
    later, until = NOW + timedelta(minutes=5), NOW + timedelta(minutes=6)
    assert [due.status for due in store.claim_due(later, until, 10)] == [Status.UNKNOWN]
    assert store.claim_due(later, until, 10) == []
    assert len(store.claim_due(until, until + timedelta(minutes=1), 10)) == 1


def test_a_payout_being_sent_is_not_claimed(store: PayoutStore) -> None:
    """A lease that is over makes a payout unknown first; it is never dispatched as submitting."""
    accepted(store)
    assert store.claim_due(NOW + timedelta(hours=1), NOW + timedelta(hours=2), 10) == []


def test_two_sweeps_never_claim_the_same(store: PayoutStore) -> None:
    """SKIP LOCKED: claims from several threads at once are disjoint and complete."""
    for nth in range(60):
        step = lifecycle.accept_queued(new(f"o-{nth}"), now=NOW)
        store.insert([step])
    claimed: list[int] = []

    def claim() -> None:
        while due := store.claim_due(NOW, NOW + timedelta(minutes=1), 7):
            claimed.extend(one.id for one in due)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 60


def test_messages_go_out_in_order_and_once(store: PayoutStore) -> None:
    """The relay publishes in the order of commits, and marks what it published."""
    store.apply(succeeded(accepted(store)))
    told: list[Message] = []
    assert store.relay_outbox(told.append, NOW, 10) == 2
    assert [message.kwargs["status"] for message in told] == ["submitting", "succeeded"]
    assert store.relay_outbox(told.append, NOW, 10) == 0


def test_a_broker_that_goes_away_in_the_middle_loses_no_message(store: PayoutStore) -> None:
    """What was published is marked, the rest stays, the error is told."""
    store.apply(succeeded(accepted(store)))
    told: list[Message] = []

    def fail_second(message: Message) -> None:
        if told:
            raise ConnectionError
        told.append(message)

    with pytest.raises(ConnectionError):
        store.relay_outbox(fail_second, NOW, 10)
    assert store.relay_outbox(told.append, NOW, 10) == 1
    assert [message.kwargs["sequence"] for message in told] == [1, 2]


def test_only_one_relay_runs_at_a_time(store: PayoutStore) -> None:
    """A second relay finds the lock taken and leaves: order per payout is kept (law 8)."""
    accepted(store)
    inner: list[int] = []

    def publish(_message: Message) -> None:
        inner.append(store.relay_outbox(lambda _: None, NOW, 10))

    assert store.relay_outbox(publish, NOW, 10) == 1
    assert inner == [0]


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


def test_claims_that_wait_for_the_cap_leave_connections_to_others(
    engine: Engine, database_url: str
) -> None:
    """However many of a process's threads wait, an answer is recorded meanwhile."""
    store = PayoutStore(make_engine(database_url, pool_size=2))
    claimed = accepted(store, "answered")
    waiting = [accepted(store, f"waiting-{nth}") for nth in range(4)]
    with ThreadPoolExecutor(4) as pool:
        with engine.begin() as holder:
            holder.execute(CAP_LOCK, {"key": _CAP_LOCK, "currency": waiting[0].currency})
            results = [
                pool.submit(store.update_within_cap, payout, NOW, lambda _found, _sent: None)
                for payout in waiting
            ]
            wait_for(lambda: locks_waited_for(holder) > 0, 10, "a claim to wait for the cap")
            assert store.apply(succeeded(claimed)) is not None
            assert not any(result.done() for result in results)
        assert [result.result() for result in results] == waiting
    store.engine.dispose()


def test_a_claim_waits_a_bounded_time_for_the_cap(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is transient: the task tries again."""
    store = PayoutStore(engine)
    payout = accepted(store)
    monkeypatch.setattr(payout_store, "_CAP_WAIT_SECONDS", 0.05)

    def claim_another(_found: PayoutState, _sent: Decimal) -> None:
        store.update_within_cap(payout, NOW, lambda _found, _sent: None)

    with pytest.raises(PoolTimeout, match="wait for the cap") as refused:
        store.update_within_cap(payout, NOW, claim_another)
    assert is_transient(refused.value)
    assert store.update_within_cap(payout, NOW, lambda _found, _sent: None) == payout


def locks_waited_for(connection: Connection) -> int:
    asked = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return int(connection.execute(asked).scalar_one())


@pytest.mark.parametrize("again", ["SHOP@epay.com ", "other@epay.com"])
def test_a_number_is_one_payout_whatever_the_account(store: PayoutStore, again: str) -> None:
    """A request that names no account finds the payout of any (law 10), earlier releases' too."""
    for number, scope in (("o-1", ""), ("o-2", "shop@epay.com"), ("o-3", None)):
        assert accepted(store, number, order_scope=scope)
        repeated = new(number, epay_account=again, order_scope="")
        step = lifecycle.accept(repeated, claim_id="d", now=NOW, policy=POLICY)
        assert store.insert([step]) == [None]
        standing = store.find_standing(repeated)
        assert standing is not None
        assert standing.epay_account == "shop@epay.com"


def test_a_named_account_has_numbers_of_its_own(store: PayoutStore) -> None:
    """But not under another spelling of the same account."""
    accepted(store, "o-1", order_scope="")
    other = new("o-1", epay_account="other@epay.com", order_scope="other@epay.com")
    assert store.find_standing(other) is None
    step = lifecycle.accept(other, claim_id="d", now=NOW, policy=POLICY)
    assert store.insert([step])[0] is not None
    spelled = new("o-1", epay_account="Shop@epay.com", order_scope="shop@epay.com")
    step = lifecycle.accept(spelled, claim_id="e", now=NOW, policy=POLICY)
    assert store.insert([step]) == [None]


def test_the_index_holds_what_two_transactions_do_at_once(engine: Engine) -> None:
    """Neither sees the other's row: the unique index on number and scope refuses the second."""
    one, other = PayoutStore(engine), engine.connect()
    with other, other.begin():
        insert_transitions(
            other.execute, [lifecycle.accept_queued(new(order_scope=""), now=NOW)], NO_ENCRYPTION
        )
        with ThreadPoolExecutor(1) as pool:
            late = new(epay_account="other@epay.com", order_scope="")
            step = lifecycle.accept(late, claim_id="d", now=NOW, policy=POLICY)
            waiting = pool.submit(one.insert, [step])
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            other.commit()
            assert waiting.result(timeout=30) == [None]
