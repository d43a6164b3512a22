"""Asking EPAY now, with nothing decided."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from shared.domain.gateway import Refused, Report
from shared.domain.payout import Status
from tests.support.jobs import Clock, kinds, put_unknown, until_epay_says
from tests.support.resolution import service_of, settled

if TYPE_CHECKING:
    from tests.integration.conftest import World


def test_a_refresh_records_what_epay_says(world: World, clock: Clock) -> None:
    """As the sweep's query would: a report moves it, an absence counts."""
    world.ask(remark="sandbox:no_callback")
    until_epay_says(world, "7")
    payout, answer = service_of(world).refresh(world.row())
    assert (payout.status, payout.fee) == (Status.SUCCEEDED, Decimal("0.1"))
    assert isinstance(answer, Report)
    put_unknown(world, "order-2")
    payout, answer = service_of(world).refresh(world.row("order-2"))
    assert len(payout.absences) == 0 or payout.status is Status.UNKNOWN
    assert isinstance(answer, Refused)
    assert kinds(world, "order-2")[-1] == "no_such_order"


def test_a_look_records_a_report_alone(world: World, clock: Clock) -> None:
    """A person who only looks does not add to the proof of absence."""
    before = settled(world, clock)
    payout, answer = service_of(world).look(before)
    assert payout == before == world.row()
    assert isinstance(answer, Refused)
