"""For the tests of the task bodies: a clock, payouts in any status, and a broker run by hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from devstack.wait import wait_for
from sandbox.orders import Order
from sandbox.server import Gateway
from shared.contract import TASK_QUERY, TASK_SUBMIT
from shared.domain import lifecycle
from shared.domain.gateway import CreateOrder, OrderAnswer, OutcomeUnknown
from shared.domain.payout import PayoutState, Status
from shared.domain.policy import Policy
from shared.messaging.callback_message import CallbackMessage
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_report, make_service_payout
from worker.jobs.query import query
from worker.jobs.submit import submit
from worker.jobs.sweep import sweep

if TYPE_CHECKING:
    from tests.integration.conftest import World

ACCOUNT = "test2020@epay.com"
NOTIFY = {"task": "shop.told", "queue": "shop", "on": ["accepted", "final"]}


class Clock:
    """The clock of a context; it stands still."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def freeze_clock(world: World) -> Clock:
    """Give the world a clock that stands still, and no jitter."""
    clock = Clock()
    world.context = replace(world.context, clock=clock, jitter=lambda: 0.0)
    return clock


@dataclass
class HookedGateway:
    """A gateway that calls `before` with the order number before each request."""

    gateway: Any
    before: Callable[[str], object]

    def create(self, order: CreateOrder, **sending: Any) -> OrderAnswer:
        self.before(order.merchant_order_no)
        return self.gateway.create(order, **sending)

    def query(self, merchant_order_no: str) -> OrderAnswer:
        self.before(merchant_order_no)
        return self.gateway.query(merchant_order_no)


def claim_id() -> str:
    return uuid.uuid4().hex


def new(world: World, order_no: str, **changes: Any) -> PayoutState:
    return make_service_payout(order_no, world.context.clock(), **changes)


def put_queued(world: World, *order_nos: str, **changes: Any) -> list[PayoutState]:
    """Store queued payouts, due now."""
    now = world.context.clock()
    steps = [lifecycle.accept_queued(new(world, no, **changes), now=now) for no in order_nos]
    return [payout for payout in world.context.store.insert(steps) if payout]


def put_submitting(world: World, *order_nos: str, **changes: Any) -> list[PayoutState]:
    """Store payouts that are being submitted by a worker that died."""
    ctx = world.context
    steps = [
        lifecycle.accept(
            new(world, no, **changes), claim_id="c", now=ctx.clock(), policy=ctx.policy
        )
        for no in order_nos
    ]
    return [payout for payout in ctx.store.insert(steps) if payout]


def put_unknown(world: World, *order_nos: str, **changes: Any) -> list[PayoutState]:
    """Store payouts whose create got no answer; due after the first step of the backoff."""
    ctx, unknown = world.context, []
    for payout in put_submitting(world, *order_nos, **changes):
        step = lifecycle.on_create_answer(
            payout,
            OutcomeUnknown("read timeout"),
            claim_id="c",
            now=ctx.clock(),
            policy=ctx.policy,
            jitter=0.0,
        )
        unknown.append(ctx.store.apply(step) or payout)
    return unknown


def put_control(world: World, order_no: str = "control-0") -> PayoutState:
    """Store a payout of long ago that EPAY ended and shows: the control of law 12."""
    return put_control_in(world.context.store, world.gateway, order_no)


def put_control_in(
    store: PayoutStore, gateway: Gateway, order_no: str = "control-0"
) -> PayoutState:
    """See `put_control`."""
    at, policy = datetime(2026, 11, 1, tzinfo=UTC), Policy()
    new_one = make_service_payout(order_no, at)
    sent = lifecycle.accept(new_one, claim_id="c", now=at, policy=policy)
    (payout,) = store.insert([sent])
    assert payout is not None
    number = gateway.book.new_order_no()
    report = make_report("7", "create", payout=payout, epay_order_no=number)
    step = lifecycle.on_create_answer(
        payout, report, claim_id="c", now=at, policy=policy, jitter=0.0
    )
    gateway.book.accept(
        Order(
            merchant_order_no=order_no,
            epay_order_no=number,
            amount=payout.amount,
            currency=payout.currency,
            fee=Decimal("0.30"),
            remark=None,
            notify_url=None,
            extend_fields=None,
            faults={},
            visible_at=0.0,
            status="7",
        )
    )
    ended = store.apply(step)
    assert ended is not None
    assert ended.status is Status.SUCCEEDED
    return ended


def ask_epay(world: World, order_no: str = "order-1") -> PayoutState:
    """Query EPAY about a payout now; returns the payout after it."""
    query(world.context, [world.row(order_no).id], None)
    return world.row(order_no)


def deliver(world: World) -> None:
    """Run what was published, as a worker would."""
    messages, world.published[:] = list(world.published), []
    for task, kwargs in messages:
        lease = datetime.fromisoformat(kwargs["lease"])
        if task == TASK_SUBMIT:
            submit(world.context, kwargs["payout_id"], lease, claim_id())
        else:
            assert task == TASK_QUERY
            query(world.context, kwargs["payout_ids"], lease)


def tick(world: World) -> dict[str, int]:
    """Run one sweep and all tasks that it published."""
    counts = sweep(world.context)
    deliver(world)
    return counts


def until_due(world: World, clock: Clock, order_no: str = "order-1") -> PayoutState:
    """Set the clock to the payout's due_at, tick once; the payout as it then stands."""
    due_at = world.row(order_no).due_at
    assert due_at is not None, "the payout is final"
    clock.now = max(clock.now, due_at)
    tick(world)
    return world.row(order_no)


def of_ledger(world: World, order_no: str = "order-1") -> dict[str, Any]:
    """The gateway's ledger entry of an order."""
    nothing = {"creates_received": 0, "creates_accepted": 0, "payments": 0, "status": None}
    return world.gateway.ledger()["orders"].get(order_no, nothing)


def until_epay_says(world: World, status: str, order_no: str = "order-1") -> None:
    """Wait until the order has that status at the gateway."""
    wait_for(lambda: of_ledger(world, order_no)["status"] == status, 60, f"EPAY to say {status}")


def outbox(world: World) -> list[Any]:
    """The messages to requesting apps, oldest first."""
    return [row.kwargs for row in world.sql("SELECT kwargs FROM payout_outbox ORDER BY id")]


def kinds(world: World, order_no: str = "order-1") -> list[str]:
    """The kinds of a payout's events."""
    return [event.kind for event in world.events(order_no)]


def callback_message(
    order_no: str = "order-1", *, verified: bool = True, **changes: Any
) -> CallbackMessage:
    """A callback as the webhook publishes it; by default it reports success."""
    fields: dict[str, Any] = {
        "epay_account": ACCOUNT,
        "merchant_order_no": order_no,
        "epay_order_no": "E1",
        "status": "7",
        "amount": "10.50",
        "currency": "USD",
        "fee": "0.10",
    }
    return CallbackMessage.model_validate({"verified": verified} | fields | changes)
