"""A second person: what one proposed, another approves, on EPAY's fresh answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ops.resolution.actions import NotAllowed
from ops.resolution.service import ConcurrentChange
from shared.domain.payout import Status
from tests.support.jobs import (
    Clock,
    kinds,
    of_ledger,
    put_control,
    put_queued,
    put_unknown,
    until_epay_says,
)
from tests.support.resolution import REJECT, RESEND, refused, service_of, settled

if TYPE_CHECKING:
    from tests.integration.conftest import World


def test_a_second_person_approves(world: World, clock: Clock) -> None:
    """Proposed and on record; the same person is refused; another one's yes asks EPAY again."""
    before = settled(world, clock)
    at = service_of(world, needs_approval=True)
    done = at.act(before, RESEND)
    assert (done.proposed, done.payout.status) == (True, Status.UNKNOWN)
    assert done.payout.due_at == before.due_at
    with pytest.raises(NotAllowed, match="another person must approve"):
        at.approve(world.row(), "ann", "yes")
    assert world.row() == done.payout
    queries = world.gateway.ledger()["totals"]["queries"]
    assert at.approve(world.row(), "Bob", "checked").payout.status is Status.QUEUED
    assert world.gateway.ledger()["totals"]["queries"] == queries + 2  # and the control
    event = world.events()[-1]
    assert (event.kind, event.actor, event.detail["proposed_by"]) == ("resend", "person:Bob", "Ann")
    with pytest.raises(NotAllowed, match="nothing is proposed"):
        at.approve(world.row(), "Bob", "again")


def test_what_is_no_longer_allowed_is_not_approved(world: World, clock: Clock) -> None:
    """EPAY shows the order by now: the proposal is over, and the payout followed."""
    put_control(world)
    assert world.ask(remark="sandbox:accept_then_close sandbox:hidden=600")["status"] == "unknown"
    clock.forward(700)
    at = service_of(world, needs_approval=True)
    assert at.act(world.row(), RESEND).proposed
    order = world.gateway.book.find("order-1")
    assert order is not None
    order.visible_at = 0.0
    until_epay_says(world, "7")
    with pytest.raises(NotAllowed, match="it is succeeded"):
        at.approve(world.row(), "Bob", "yes")
    assert world.row().status is Status.SUCCEEDED
    assert of_ledger(world)["payments"] == 1


def test_what_is_refused_is_not_even_proposed(world: World, clock: Clock) -> None:
    put_unknown(world, "order-1")
    at = service_of(world, needs_approval=True)
    assert "EPAY_SETTLE_SECONDS" in refused(at, world.row(), RESEND)
    assert kinds(world)[-1] == "outcome_unknown"


def test_only_the_proposal_that_was_shown_is_approved(world: World, clock: Clock) -> None:
    """Between look and yes it became another one."""
    at = service_of(world, needs_approval=True)
    at.act(settled(world, clock), RESEND)
    at.act(world.row(), REJECT)
    with pytest.raises(ConcurrentChange, match="another action was proposed"):
        at.approve(world.row(), "Bob", "yes", seen=RESEND)
    assert at.approve(world.row(), "Bob", "yes", seen=REJECT).payout.status is Status.REJECTED


def test_a_sure_act_needs_one_person(world: World, clock: Clock) -> None:
    """The setting is for what nobody knows: what was never sent is rejected by one."""
    put_queued(world, "order-1")
    at = service_of(world, needs_approval=True)
    assert at.act(world.row(), REJECT).payout.status is Status.REJECTED
