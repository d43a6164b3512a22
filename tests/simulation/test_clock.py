"""No beat for a while, then two at once: a backlog is worked off in bounded batches."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from shared.contract import TASK_QUERY, TASK_SWEEP
from shared.domain.payout import Status
from tests.simulation.seeded_choices import Choices
from tests.simulation.world import World

PAYOUTS = 40


def busy_world() -> World:
    """Payouts that EPAY has taken and not finished; no beat ran since."""
    world = World(Choices(recorded=[]))
    for nth in range(PAYOUTS):
        world._ask(f"order-{nth}")
    while world.broker.waiting or world.runs:
        world._deliver() if world.broker.waiting else world._resume()
    for orders in world.gateway.orders.values():
        for order in orders:
            order.ends_at = world.now + timedelta(days=30)
    return world


def drain(world: World) -> Counter[str]:
    """Run everything that waits; how many messages of each task there were."""
    taken: Counter[str] = Counter()
    while world.broker.waiting or world.runs:
        if world.runs:
            world._resume()
        else:
            taken[world.broker.waiting[0].task] += 1
            world._deliver()
    return taken


def test_two_beats_after_ten_minutes_of_none_make_no_storm() -> None:
    """Each payout is asked about once, in batches, however many ticks come at once."""
    world = busy_world()
    world.now += timedelta(minutes=10)
    for _ in range(2 * 20):
        world._beat()
    taken = drain(world)
    sweeps = PAYOUTS // world.context.sweep_batch
    batches = sweeps * -(-world.context.sweep_batch // world.context.query_batch)
    assert taken[TASK_SWEEP] == 40
    assert taken[TASK_QUERY] == batches
    assert world.gateway.queries == PAYOUTS
    assert all(times == 1 for times in world.gateway.creates.values())


def test_one_sweep_takes_a_bounded_batch() -> None:
    """The first tick after the silence claims no more than the batch."""
    world = busy_world()
    world.now += timedelta(minutes=10)
    world._beat()
    drain(world)
    assert world.gateway.queries == world.context.sweep_batch


def test_a_message_that_outlived_its_lease_costs_no_query() -> None:
    """Dispatched again when the lease was over, a payout is asked about once, not twice."""
    world = busy_world()
    world.now += timedelta(minutes=10)
    for _ in range(8):
        world._beat()
        while world.broker.waiting and world.broker.waiting[0].task != TASK_QUERY:
            world._deliver()
            while world.runs:
                world._resume()
        queries = [one for one in world.broker.waiting if one.task == TASK_QUERY]
        world.broker.waiting = queries
    stale = len(world.broker.waiting)
    world.now += world.policy.lease + timedelta(seconds=1)
    for _ in range(8):
        world._beat()
    world.broker.waiting.sort(key=lambda one: one.task != TASK_SWEEP)
    drain(world)
    assert stale > 0
    assert world.gateway.queries == PAYOUTS


def test_without_any_beat_what_is_on_disk_stays_due() -> None:
    """An hour without beat loses nothing: every open payout is still due."""
    world = busy_world()
    world.now += timedelta(hours=1)
    rows = [row for row in world.store.rows.values() if row.merchant_order_no in world.asked]
    assert {row.status for row in rows} == {Status.PROCESSING}
    assert all(row.due_at is not None and row.due_at <= world.now for row in rows)
