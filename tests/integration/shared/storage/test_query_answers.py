"""Answers of EPAY are recorded for the order that was asked about, whatever has its id now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.recovery import Recovery
from shared.domain.accounts import ConfiguredAccount
from shared.domain.payout import Status
from tests.support.factories import make_report
from tests.support.jobs import ACCOUNT, put_queued
from worker.jobs.query import record

if TYPE_CHECKING:
    from tests.integration.conftest import World


def test_an_answer_about_another_order_is_not_recorded(world: World) -> None:
    """The database went back in time, and a new payout has the id: same amount, same currency."""
    ctx, account = world.context, ConfiguredAccount(ACCOUNT)
    (payout,) = put_queued(world, "order-1")
    report = make_report("7", "query", payout=payout)
    asked = {payout.id: "the one before"}
    record(ctx, account, {payout.id: report}, ctx.clock(), asked)
    recovery = Recovery(ctx.store, account, lambda numbers: [report for _ in numbers], ctx.policy)
    assert recovery.ask(asked) is None
    assert world.row().status is Status.QUEUED
    assert recovery.findings.undecided == 1, "nobody asked about the new one"
    assert recovery.ask({payout.id: "order-1"}) is None
    assert world.row().status is Status.SUCCEEDED
