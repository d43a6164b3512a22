"""A review reason is logged once, by whoever set it, when it is committed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from shared.clock import utcnow
from shared.domain import lifecycle, review
from shared.domain.payout import PayoutState, Transition
from shared.domain.transitions import make_transition
from shared.storage import write_transitions
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_service_payout

ACCOUNT_NO = "U1234567890"
Write = Callable[[PayoutStore, PayoutState, Transition], object]


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test may have configured the logs, and the logger keeps its first configuration."""
    monkeypatch.setattr(write_transitions, "log", structlog.get_logger())


def queued(store: PayoutStore, order_no: str = "order-1") -> PayoutState:
    now = utcnow()
    payout = make_service_payout(order_no, now, account_no=ACCOUNT_NO)
    [found] = store.insert([lifecycle.accept_queued(payout, now=now)])
    assert found is not None
    return found


def flagged(payout: PayoutState, code: str = "overdue", words: str = "no end") -> Transition:
    now = utcnow()
    after = review.flag(payout, code, words, now)
    return make_transition(payout, after, kind="held", actor="worker", now=now, detail={})


def warnings_of(write: Callable[[], object]) -> list[Any]:
    with capture_logs() as logs:
        write()
    return [line for line in logs if line["event"] == "review_reason_set"]


WRITES: dict[str, Write] = {
    "apply": lambda store, _payout, step: store.apply(step),
    "update": lambda store, payout, step: store.update(payout.id, lambda _fresh: step),
    "update_many": lambda store, payout, step: store.update_many([payout.id], lambda _fresh: step),
    "by_order_no": lambda store, payout, step: store.update_by_order_no(
        payout.epay_account, payout.merchant_order_no, lambda _fresh: step
    ),
    "within_cap": lambda store, payout, step: store.update_within_cap(
        payout, payout.created_at, lambda _fresh, _sent: step
    ),
}


@pytest.mark.parametrize("group_commit", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_a_reason_is_logged_when_it_is_set(
    store: PayoutStore, write: str, group_commit: bool
) -> None:
    """Whichever way it is written."""
    store = PayoutStore(store.engine, group_commit=group_commit)
    payout = queued(store)
    step = flagged(payout, words=f"EPAY says: account {ACCOUNT_NO} is odd")
    assert warnings_of(lambda: WRITES[write](store, payout, step)) == [
        {
            "event": "review_reason_set",
            "log_level": "warning",
            "merchant_order_no": "order-1",
            "status": "queued",
            "code": "overdue",
            "words": "EPAY says: account *** is odd",
        }
    ]


def test_a_payout_that_is_in_review_from_the_start_is_logged(store: PayoutStore) -> None:
    """Of two with one order number the one that is stored."""
    step = lifecycle.accept_queued(make_service_payout("order-1", utcnow()), now=utcnow())
    held = replace(step, after=review.flag(step.after, "above_cap", "words", utcnow()))
    assert len(warnings_of(lambda: store.insert([held, held]))) == 1
    assert warnings_of(lambda: store.insert([held])) == []


def test_only_another_code_is_news(store: PayoutStore) -> None:
    """The same one with other words is not; nor is a reason that is cleared."""
    payout = queued(store)
    for code, words, logged in [
        ("overdue", "no end", 1),
        ("overdue", "no end yet", 0),
        ("unsent", "no answer", 1),
        ("mismatch", "amount", 1),
    ]:
        found = warnings_of(
            lambda: store.update(payout.id, lambda fresh: flagged(fresh, code, words))  # noqa: B023
        )
        assert len(found) == logged, code
    assert not warnings_of(
        lambda: store.update(payout.id, lambda fresh: Transition(fresh, review.clear_review(fresh)))
    )


def test_what_is_not_committed_is_not_logged(store: PayoutStore) -> None:
    """A transaction that fails, and is run again, logs once."""
    first, second = queued(store, "order-1"), queued(store, "order-2")

    def decide(fresh: PayoutState) -> Transition:
        if fresh.id == second.id and not again:
            raise LookupError
        return flagged(fresh)

    again: list[bool] = []

    def update() -> None:
        store.update_many([first.id, second.id], decide)

    with capture_logs() as logs, pytest.raises(LookupError):
        update()
    assert logs == []
    again.append(True)
    found = warnings_of(update)
    assert [line["merchant_order_no"] for line in found] == ["order-1", "order-2"]


def test_what_another_was_faster_with_is_not_logged(store: PayoutStore) -> None:
    """The row has moved: nothing is written, nothing is logged."""
    payout = queued(store)
    step = flagged(payout)
    assert len(warnings_of(lambda: store.apply(step))) == 1
    assert warnings_of(lambda: store.apply(step)) == []
