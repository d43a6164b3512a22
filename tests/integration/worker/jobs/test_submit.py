"""`payouts.submit`: what the sweep found queued is sent, once, by whoever holds the claim."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError

from shared.contract import TASK_SUBMIT
from shared.domain.gateway import NeverSent
from shared.domain.payout import PayoutState, Status
from shared.storage.engine import make_engine
from shared.storage.payout_store import Decide, PayoutStore
from tests.support.jobs import (
    HookedGateway,
    callback_message,
    claim_id,
    freeze_clock,
    kinds,
    of_ledger,
    put_queued,
    put_unknown,
    tick,
)
from worker.jobs.callback import callback
from worker.jobs.submit import submit
from worker.jobs.sweep import sweep

if TYPE_CHECKING:
    from tests.integration.conftest import World


def swept(world: World) -> tuple[PayoutState, Any]:
    """A queued payout under the sweep's claim, and that claim."""
    [payout] = put_queued(world, "order-1")
    sweep(world.context)
    assert [task for task, _ in world.published] == [TASK_SUBMIT]
    return payout, world.row().due_at


def test_a_queued_payout_is_sent(world: World) -> None:
    """The claim of the sweep becomes the claim of the sender, and the create goes out."""
    payout, lease = swept(world)
    assert submit(world.context, payout.id, lease, claim_id()) == "processing"
    assert kinds(world) == ["accepted", "submitting", "create_report"]
    assert of_ledger(world)["creates_received"] == 1


def test_a_hint_from_no_sweep_is_followed(world: World) -> None:
    """A producer's hint bears no lease."""
    [payout] = put_queued(world, "order-1")
    assert submit(world.context, payout.id, None, claim_id()) == "processing"


def test_a_message_that_outlived_its_lease_does_nothing(world: World) -> None:
    """The sweep has claimed the payout anew since: the older message is void."""
    clock = freeze_clock(world)
    payout, stale = swept(world)
    clock.forward(60)
    sweep(world.context)
    assert submit(world.context, payout.id, stale, claim_id()) == "queued"
    assert of_ledger(world)["creates_received"] == 0
    assert submit(world.context, payout.id, world.row().due_at, claim_id()) == "processing"


@pytest.mark.parametrize("lease", ["the sweep's", "none"])
def test_the_same_message_many_times_sends_once(world: World, lease: str) -> None:
    """Four workers with one message: one claims, the others do nothing."""
    payout, until = swept(world)
    given = until if lease == "the sweep's" else None
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: submit(world.context, payout.id, given, claim_id()), range(4)))
    submit(world.context, payout.id, given, claim_id())
    assert of_ledger(world)["creates_received"] == 1
    assert kinds(world).count("submitting") == 1


def test_what_is_not_queued_is_not_sent(world: World) -> None:
    """A payout whose outcome is unknown is never sent by a submit."""
    [payout] = put_unknown(world, "order-1")
    assert submit(world.context, payout.id, None, claim_id()) == "unknown"
    assert submit(world.context, payout.id, payout.due_at, claim_id()) == "unknown"
    assert of_ledger(world)["creates_received"] == 0


def test_a_final_payout_is_not_sent(world: World) -> None:
    """EPAY called a queued payout paid: a late submit leaves it alone."""
    payout, lease = swept(world)
    callback(world.context, callback_message())
    assert submit(world.context, payout.id, lease, claim_id()) == "succeeded"
    assert of_ledger(world)["creates_received"] == 0


def test_a_payout_that_is_not_there_is_nobodys_fault(world: World) -> None:
    """A message about no row does nothing."""
    assert submit(world.context, 4711, None, claim_id()) is None


def test_what_never_left_waits_longer_each_time(world: World) -> None:
    """Law 2: the same number, put back with the submit backoff, until it gets through."""
    clock = freeze_clock(world)
    inner = world.context

    class Unreachable:
        def create(self, _order: object, **_: object) -> NeverSent:
            return NeverSent("connection refused")

    world.context = replace(inner, gateway=Unreachable())
    put_queued(world, "order-1")
    pauses = []
    for _ in range(4):
        tick(world)
        payout = world.row()
        assert (payout.status, payout.first_sent_at) == (Status.QUEUED, None)
        assert payout.due_at is not None
        pauses.append((payout.due_at - clock.now).total_seconds())
        clock.now = payout.due_at
    assert pauses == [2, 5, 15, 30]
    world.context = replace(inner, clock=clock)
    tick(world)
    assert (world.row().status, world.row().attempts) == (Status.PROCESSING, 5)
    assert of_ledger(world)["creates_received"] == 1


class ClaimReplyLost(PayoutStore):
    """A store whose first change is committed and whose reply is then lost."""

    lost = 0

    def update(self, payout_id: int, decide: Decide) -> PayoutState | None:
        changed = super().update(payout_id, decide)
        if not self.lost:
            self.lost += 1
            raise OperationalError("COMMIT", {}, ConnectionError("server closed the connection"))
        return changed


class AnswerRefused(PayoutStore):
    """A store that cannot take the first answer to a create."""

    fails = 1

    def apply(self, step: Any) -> PayoutState | None:
        if self.fails:
            self.fails -= 1
            raise OperationalError("UPDATE", {}, ConnectionError("server closed the connection"))
        return super().apply(step)


@pytest.mark.parametrize("store", [ClaimReplyLost, AnswerRefused])
def test_a_database_that_goes_away_makes_no_second_send(
    world: World, store: type[PayoutStore]
) -> None:
    """Away at the claim or at the answer: the task runs again, the create goes out once."""
    payout, lease = swept(world)
    world.context = replace(world.context, store=store(world.engine))
    claim = claim_id()
    run = lambda: submit(world.context, payout.id, lease, claim)  # noqa: E731
    assert world.context.database_retry.run(run) == "processing"
    assert of_ledger(world)["creates_received"] == 1


def test_the_claim_is_on_disk_when_the_create_arrives(world: World, database_url: str) -> None:
    """Laws 1 and 9 for a submit: another session reads the claim, over the only connection."""
    clock = freeze_clock(world)
    [payout] = put_queued(world, "order-1")
    engine = make_engine(database_url, pool_size=1)
    world.engine = engine
    seen: list[Sequence[Any]] = []

    def look(_order_no: str) -> None:
        seen.extend(world.sql("SELECT status, due_at, claim_id, attempts FROM payout"))

    inner = world.context
    ctx = replace(inner, store=PayoutStore(engine), gateway=HookedGateway(inner.gateway, look))
    try:
        submit(ctx, payout.id, None, "my claim")
    finally:
        engine.dispose()
    assert [tuple(row) for row in seen] == [
        ("submitting", clock.now + timedelta(seconds=60), "my claim", 1)
    ]
