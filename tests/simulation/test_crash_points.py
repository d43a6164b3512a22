"""A crash at every boundary between two I/O steps of every task, by name, and what follows.

A boundary stands before and after each commit, each request to EPAY and each publish. The process
dies there; the row must then be as the table says, and once a new worker runs the payout must come
to its end, paid once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from shared.contract import TASK_CALLBACK, TASK_NOTIFY, TASK_QUERY, TASK_SUBMIT, TASK_SWEEP
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown
from shared.domain.payout import PayoutState, Status
from tests.simulation.gateway import ACCOUNT
from tests.simulation.seeded_choices import Choices
from tests.simulation.world import START, World

NO = "order-0"
NOTHING = None


@dataclass(frozen=True)
class Point:
    """Where the process dies, and how the payout stands then."""

    task: str
    boundary: str
    leaves: Status | None
    creates: int
    """Create requests that reached the gateway before the crash."""


POINTS = [
    Point("request", "insert: before the commit", NOTHING, 0),
    Point("request", "insert: after the commit", Status.SUBMITTING, 0),
    Point("request", "create order-0: before it leaves", Status.SUBMITTING, 0),
    Point("request", "create order-0: before the answer is in", Status.SUBMITTING, 1),
    Point("request", "apply: before the commit", Status.SUBMITTING, 1),
    Point("request", "apply: after the commit", Status.PROCESSING, 1),
    Point("submit", "get_claimed: before the commit", Status.QUEUED, 0),
    Point("submit", "get_claimed: after the commit", Status.QUEUED, 0),
    Point("submit", "update: before the commit", Status.QUEUED, 0),
    Point("submit", "update: after the commit", Status.SUBMITTING, 0),
    Point("submit", "create order-0: before it leaves", Status.SUBMITTING, 0),
    Point("submit", "create order-0: before the answer is in", Status.SUBMITTING, 1),
    Point("submit", "apply: before the commit", Status.SUBMITTING, 1),
    Point("submit", "apply: after the commit", Status.PROCESSING, 1),
    Point("query", "get_claimed_keys: before the commit", Status.UNKNOWN, 1),
    Point("query", "get_claimed_keys: after the commit", Status.UNKNOWN, 1),
    Point("query", "query order-0: before it leaves", Status.UNKNOWN, 1),
    Point("query", "query order-0: before the answer is in", Status.UNKNOWN, 1),
    Point("query", "update_many: before the commit", Status.UNKNOWN, 1),
    Point("query", "update_many: after the commit", Status.SUCCEEDED, 1),
    Point("callback", "update_by_order_no: before the commit", Status.PROCESSING, 1),
    Point("callback", "update_by_order_no: after the commit", Status.SUCCEEDED, 1),
    Point("sweep", "expire_leases: before the commit", Status.SUBMITTING, 1),
    Point("sweep", "expire_leases: after the commit", Status.UNKNOWN, 1),
    Point("sweep", "flag_overdue: before the commit", Status.UNKNOWN, 1),
    Point("sweep", "flag_overdue: after the commit", Status.UNKNOWN, 1),
    Point("sweep", "claim_due: before the commit", Status.UNKNOWN, 1),
    Point("sweep", "claim_due: after the commit", Status.UNKNOWN, 1),
    Point("sweep", "publish payouts.query: before", Status.UNKNOWN, 1),
    Point("sweep", "publish payouts.query: after", Status.UNKNOWN, 1),
    Point("notify", "relay_outbox: before the commit", Status.SUCCEEDED, 1),
    Point("notify", "tell the app: before", Status.SUCCEEDED, 1),
    Point("notify", "tell the app: after", Status.SUCCEEDED, 1),
    Point("notify", "relay_outbox: after the commit", Status.SUCCEEDED, 1),
]


class Stage:
    """A world in which nothing goes wrong by itself, driven by hand."""

    def __init__(self) -> None:
        self.world = World(Choices(recorded=[]))
        self.world.choices.made.clear()

    @property
    def row(self) -> PayoutState | None:
        return self.world.store.find(ACCOUNT, NO)

    def ask(self) -> None:
        self.world._ask(NO)

    def take(self, task: str) -> None:
        """Let process 0 take the first message of this task."""
        waiting = self.world.broker.waiting
        waiting.sort(key=lambda delivery: delivery.task != task)
        assert waiting[0].task == task, f"no {task} waits"
        self.world._deliver()

    def boundaries(self) -> list[str]:
        """Run what is under way to its end, and name the boundaries it passed."""
        passed = []
        while self.world.runs:
            passed.append(self.world.runs[0].at)
            self.world._resume()
        return passed

    def run_to(self, boundary: str) -> None:
        while self.world.runs and self.world.runs[0].at != boundary:
            self.world._resume()
        assert self.world.runs, f"{boundary} was never reached"

    def crash(self) -> None:
        self.world._crash()

    def whole(self, task: str) -> None:
        self.take(task)
        self.boundaries()

    def answering(self, answer: OrderAnswer, *, arrives: bool) -> None:
        """The next create is answered so, whether it arrived or not."""
        gateway = self.world.gateway
        received = gateway._received

        def once(order: object) -> OrderAnswer:
            gateway._received = received  # type: ignore[method-assign]
            if arrives:
                received(order)  # type: ignore[arg-type]
            return answer

        gateway._received = once  # type: ignore[method-assign,assignment]

    def later(self, **delta: float) -> None:
        self.world.now += timedelta(**delta)
        self.world.gateway.tick()

    def recover(self) -> None:
        """A new worker runs, beat ticks, redelivery comes: to the end, every law watched."""
        self.world.wild = False
        for _ in range(2000):
            if self.world._settled():
                break
            self.world._step()
        self.world.invariants.at_the_end(self.world.asked, self.world.told)


def request() -> Stage:
    stage = Stage()
    stage.ask()
    stage.take("payouts.request")
    return stage


def submit() -> Stage:
    stage = Stage()
    stage.ask()
    stage.answering(NeverSent("connection refused"), arrives=False)
    stage.whole("payouts.request")
    stage.later(minutes=1)
    stage.world._beat()
    stage.whole(TASK_SWEEP)
    stage.take(TASK_SUBMIT)
    return stage


def unknown() -> Stage:
    stage = Stage()
    stage.ask()
    stage.answering(OutcomeUnknown("read timeout"), arrives=True)
    stage.whole("payouts.request")
    stage.later(minutes=1)
    stage.world._beat()
    return stage


def query() -> Stage:
    stage = unknown()
    stage.whole(TASK_SWEEP)
    stage.take(TASK_QUERY)
    return stage


def callback() -> Stage:
    stage = Stage()
    stage.ask()
    stage.whole("payouts.request")
    stage.later(seconds=2)
    stage.world._callback()
    stage.take(TASK_CALLBACK)
    return stage


def sweep() -> Stage:
    stage = request()
    stage.run_to("apply: before the commit")
    stage.crash()
    stage.later(minutes=3)
    stage.world._beat()
    stage.take(TASK_SWEEP)
    return stage


def notify() -> Stage:
    stage = callback()
    stage.boundaries()
    stage.world._beat()
    stage.take(TASK_NOTIFY)
    return stage


STAGES: dict[str, Callable[[], Stage]] = {
    "request": request,
    "submit": submit,
    "query": query,
    "callback": callback,
    "sweep": sweep,
    "notify": notify,
}


@pytest.mark.parametrize("task", STAGES)
def test_the_table_names_every_boundary(task: str) -> None:
    """No task has a boundary that is not in the table, and none is listed that is not there."""
    passed = list(dict.fromkeys(STAGES[task]().boundaries()))
    assert passed == [point.boundary for point in POINTS if point.task == task]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point.task}, {point.boundary}")
def test_a_crash_there_leaves_this_and_recovers(point: Point) -> None:
    """The row stands as the table says; then the payout comes to its end, paid once, told."""
    stage = STAGES[point.task]()
    stage.run_to(point.boundary)
    row = stage.row
    assert (row.status if row else NOTHING) is point.leaves
    assert stage.world.gateway.creates[NO] == point.creates
    if row is not None and row.finished_at is None:
        assert row.due_at is not None
    stage.crash()
    stage.recover()
    _ended_well(stage, point)


def _ended_well(stage: Stage, point: Point) -> None:
    row = stage.row
    assert row is not None
    assert row.status is Status.SUCCEEDED, (point, stage.world.story)
    assert stage.world.gateway.payments[NO] == 1
    assert [message.kwargs["status"] for message in stage.world.told].count("succeeded") in {1, 2}


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point.task}, {point.boundary}")
def test_redis_lost_at_the_same_moment_is_no_worse(point: Point) -> None:
    """The process dies and Redis comes back empty: what is on disk goes on without a message."""
    stage = STAGES[point.task]()
    stage.run_to(point.boundary)
    on_disk = stage.row is not None
    stage.crash()
    stage.world.broker.wipe()
    if not on_disk:
        stage.ask()
    stage.recover()
    _ended_well(stage, point)


def test_time_stood_still_until_now() -> None:
    """The stages begin when the world begins: nothing in them depends on today."""
    assert Stage().world.now == START
