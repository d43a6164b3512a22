"""`payouts.notify`: the outbox goes out in order, at least once (law 8)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.domain.notifications import Message
from shared.storage.outbox import QueueRefused
from tests.support.jobs import NOTIFY, callback_message, put_queued, put_unknown
from worker.jobs.callback import callback
from worker.jobs.notify import notify
from worker.jobs.submit import submit

if TYPE_CHECKING:
    from tests.integration.conftest import World


def sequences(messages: list[Message]) -> list[tuple[str, int]]:
    return [(one.kwargs["merchant_order_no"], one.kwargs["sequence"]) for one in messages]


def three_ends(world: World) -> list[tuple[str, int]]:
    """Three payouts with a receipt and an end each; what is to be told of them."""
    put_unknown(world, "a", "b", "c", notify=NOTIFY)
    for order_no in ("c", "a", "b"):
        callback(world.context, callback_message(order_no))
    return [("a", 1), ("b", 1), ("c", 1), ("c", 3), ("a", 3), ("b", 3)]


def test_messages_go_to_the_apps_task_in_order(world: World) -> None:
    """Task and queue are the app's, the kwargs the contract's; a second round sends nothing."""
    expected = three_ends(world)
    assert notify(world.context) == 6
    assert sequences(world.outcomes) == expected
    assert {(one.task, one.queue) for one in world.outcomes} == {("shop.told", "shop")}
    assert set(world.outcomes[-1].kwargs) == {
        "merchant_order_no",
        "epay_account",
        "status",
        "previous_status",
        "epay_order_no",
        "amount",
        "currency",
        "fee",
        "occurred_at",
        "sequence",
    }
    assert notify(world.context) == 0


def test_nobody_is_told_who_did_not_ask(world: World) -> None:
    """A payout without `notify` writes no message."""
    put_unknown(world, "order-1")
    callback(world.context, callback_message())
    assert notify(world.context) == 0


def test_the_message_comes_with_the_end_and_not_before(world: World) -> None:
    """Law 8: the outbox holds a message as soon as the end is on disk, and no sooner."""
    [payout] = put_queued(world, "order-1", notify=NOTIFY | {"on": ["final"]})
    submit(world.context, payout.id, None, "c")
    assert notify(world.context) == 0
    callback(world.context, callback_message(epay_order_no=None))
    assert notify(world.context) == 1
    assert (world.outcomes[0].kwargs["previous_status"], world.outcomes[0].kwargs["status"]) == (
        "processing",
        "succeeded",
    )


def test_more_than_one_batch_goes_out_in_one_round(world: World) -> None:
    """Five hundred messages: all of them, in order."""
    three_ends(world)
    world.sql(
        "INSERT INTO payout_outbox (payout_id, task, queue, kwargs, created_at)"
        " SELECT p.id, 't', 'q', jsonb_build_object('merchant_order_no', 'n', 'sequence', n), now()"
        " FROM payout p, generate_series(1, 494) n WHERE p.merchant_order_no = 'a' ORDER BY n"
    )
    assert notify(world.context) == 500
    assert sequences(world.outcomes)[6:] == [("n", nth) for nth in range(1, 495)]


def test_a_broker_that_goes_away_keeps_the_order(world: World) -> None:
    """The third publish fails: the next round goes on with the third."""
    expected = three_ends(world)

    def failing(message: Message) -> None:
        if len(world.outcomes) == 2:
            raise ConnectionError
        world.outcomes.append(message)

    with pytest.raises(ConnectionError):
        notify(replace(world.context, publish_outcome=failing))
    assert notify(world.context) == 4
    assert sequences(world.outcomes) == expected


def test_a_refused_queue_costs_itself_alone(world: World) -> None:
    """Law 15: one queue of twenty refuses: the other nineteen are told, in the same round."""
    queues = [f"shop-{nth}" for nth in range(20)]
    put_unknown(world, "bad", notify=NOTIFY | {"queue": "shop-0"})
    for queue in queues:
        put_unknown(
            world, *[f"{queue}.{nth}" for nth in range(15)], notify=NOTIFY | {"queue": queue}
        )
    bad = world.row("bad").id
    world.sql(
        "INSERT INTO payout_outbox (payout_id, task, queue, kwargs, created_at)"
        " VALUES (:id, 't', 'shop-1', '{}', now())",
        id=bad,
    )
    tried: list[str] = []

    def publish(message: Message) -> None:
        tried.append(message.queue)
        if message.queue == "shop-0" and refusing:
            raise QueueRefused
        world.outcomes.append(message)

    refusing = True
    context = replace(world.context, publish_outcome=publish)
    assert notify(context) == 19 * 15
    assert tried.count("shop-0") == 1
    assert {one.queue for one in world.outcomes} == set(queues) - {"shop-0"}
    assert {} not in [one.kwargs for one in world.outcomes], "it follows a message that was refused"
    refusing = False
    assert notify(context) == 15 + 2
    assert [one.kwargs for one in world.outcomes[19 * 15 :]][-1] == {}


def test_more_refused_messages_than_a_batch_keep_nobody_back(world: World) -> None:
    """Three hundred of them are older than the one of another queue."""
    for queue, count in (("dead", 300), ("shop", 1)):
        world.sql(
            "INSERT INTO payout_outbox (task, queue, kwargs, created_at)"
            " SELECT 't', :queue, '{}', now() FROM generate_series(1, :count)",
            queue=queue,
            count=count,
        )

    def publish(message: Message) -> None:
        if message.queue == "dead":
            raise QueueRefused
        world.outcomes.append(message)

    assert notify(replace(world.context, publish_outcome=publish)) == 1


@contextmanager
def nobody_else(world: World) -> Iterator[None]:
    """End every other session of the database, as a restart does."""
    with world.engine.connect() as connection:
        yield
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_a_crash_between_publish_and_commit_sends_again(world: World) -> None:
    """At least once: PostgreSQL dies with the marks: every message goes out again, in order."""
    expected = three_ends(world)

    def dying(message: Message) -> None:
        with nobody_else(world):
            world.outcomes.append(message)

    with pytest.raises(DBAPIError):
        notify(replace(world.context, publish_outcome=dying))
    assert notify(world.context) == 6
    assert sequences(world.outcomes)[-6:] == expected
    assert len(world.outcomes) > 6
