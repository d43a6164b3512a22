"""The sweep's claim: each payout that is due goes to one of all that ask."""

from __future__ import annotations

import threading
from datetime import timedelta

from shared.domain import lifecycle
from shared.domain.gateway import OutcomeUnknown
from shared.domain.payout import Status
from shared.storage.payout_store import PayoutStore
from tests.support.stored_payouts import NOW, POLICY, accepted, new


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
