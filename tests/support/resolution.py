"""For the tests of a person's act: decisions, and the service on the parts of a world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ops.resolution.actions import Action, Decision, NotAllowed
from ops.resolution.service import ResolutionService
from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState, Status
from shared.storage.queries import events_of
from tests.support.jobs import Clock, HookedGateway, put_control, put_unknown

if TYPE_CHECKING:
    from tests.integration.conftest import World

RESEND = Decision(Action.RESEND, "Ann", "EPAY has no such order, ticket 7")
REJECT = Decision(Action.REJECT, "Ann", "no longer wanted")
PAID = Decision(Action.ACCEPT_AS, "Ann", "EPAY says paid, ticket 8", end=Status.SUCCEEDED)


def service_of(world: World, **changes: Any) -> ResolutionService:
    """A harness on the parts of the workers."""
    ctx = world.context
    made = ResolutionService(
        store=ctx.store,
        ask=ctx.gateway.query,
        journal=lambda payout_id: events_of(world.engine, payout_id),
        policy=ctx.policy,
        refusal_pause=ctx.refusal_pause,
        clock=ctx.clock,
        jitter=ctx.jitter,
    )
    return replace(made, **changes)


def meanwhile(world: World, happens: Callable[[], object]) -> Callable[[str], OrderAnswer]:
    """A way to ask EPAY, with something that happens just before the question leaves."""
    return HookedGateway(world.context.gateway, lambda _: happens()).query


def settled(world: World, clock: Clock) -> PayoutState:
    """A payout of which EPAY knows nothing, the settle time over; it shows another one."""
    put_control(world)
    put_unknown(world, "order-1")
    clock.forward(world.context.policy.visibility_delay.total_seconds() + 60)
    return world.row()


def refused(at: ResolutionService, payout: PayoutState, decision: Decision) -> str:
    with pytest.raises(NotAllowed) as error:
        at.act(payout, decision)
    return str(error.value)
