"""The relay: messages go out in the order of commits, one relay at a time."""

from __future__ import annotations

import pytest

from shared.domain.notifications import Message
from shared.storage.payout_store import PayoutStore
from tests.support.stored_payouts import NOW, accepted, succeeded


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
