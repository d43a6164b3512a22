"""Every reason for review that the code knows comes to pass, and docs/operations.md answers it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ops.resolution.actions import Action, possible_actions
from ops.wording.review_help import MEANS
from sandbox.orders import Order
from shared.domain import review
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.payout import Status
from shared.storage.encryption import NO_ENCRYPTION
from shared.storage.queries import find_details
from tests.support.jobs import (
    ACCOUNT,
    Clock,
    ask_epay,
    callback_message,
    freeze_clock,
    of_ledger,
    put_control,
    put_queued,
    put_unknown,
    tick,
    until_due,
    until_epay_says,
)
from tests.support.paths import ROOT
from worker.jobs.callback import callback
from worker.jobs.daily_reconciliation import reconcile_day

if TYPE_CHECKING:
    from tests.integration.conftest import MakeWorld, World

CODES = {value for name, value in vars(review).items() if name.isupper() and isinstance(value, str)}
NO_CODES: dict[str, Any] = {"not_found_codes": frozenset(), "refused_codes": frozenset()}


def at_epay(world: World) -> Order:
    found = world.gateway.book.find("order-1")
    assert found is not None
    return found


def paid(world: World) -> None:
    world.ask()
    until_epay_says(world, "7")
    assert ask_epay(world).status is Status.SUCCEEDED


def mismatch(make_world: MakeWorld) -> World:
    """EPAY shows the order with another amount."""
    world = make_world()
    world.ask()
    at_epay(world).amount = Decimal("9.99")
    ask_epay(world)
    return world


def second_order(make_world: MakeWorld) -> World:
    """Paid, and then EPAY calls back about another order of its own under the same number."""
    world = make_world()
    paid(world)
    callback(world.context, callback_message(status="7", epay_order_no="another"))
    return world


def contradiction(make_world: MakeWorld) -> World:
    """Paid, and then called back as failed."""
    world = make_world()
    paid(world)
    callback(
        world.context, callback_message(status="6", epay_order_no=at_epay(world).epay_order_no)
    )
    return world


def create_refused(make_world: MakeWorld) -> World:
    """Refused with a code of which no setting knows anything."""
    world = make_world(**NO_CODES)
    world.ask(remark="sandbox:refuse")
    return world


def query_refused(make_world: MakeWorld) -> World:
    """Nobody knows, and EPAY refuses to tell, the settle time over."""
    world = make_world(**NO_CODES)
    clock = freeze_clock(world)
    put_unknown(world, "order-1")
    clock.forward(700)
    ask_epay(world)
    return world


def no_control(make_world: MakeWorld) -> World:
    """EPAY has no such order, and has not ended any yet that it must show."""
    world = make_world()
    clock = freeze_clock(world)
    put_unknown(world, "order-1")
    clock.forward(700)
    ask_epay(world)
    return world


def unanswered(make_world: MakeWorld) -> World:
    """EPAY is away for longer than the settle time."""
    world = make_world()
    clock = freeze_clock(world)
    put_unknown(world, "order-1")
    clock.forward(700)
    world.gateway.set_faults(down_seconds=30, mode="503")
    ask_epay(world)
    world.gateway.clear_faults()
    return world


def looked_for(make_world: MakeWorld, looks: int, **policy: Any) -> tuple[World, Clock]:
    """A create that never came to EPAY, and so many looks at it, each when it is due."""
    world = make_world(**policy)
    clock = freeze_clock(world)
    put_control(world)
    world.ask(remark="sandbox:drop_before_accepting")
    for _ in range(looks):
        until_due(world, clock)
    return world, clock


def resend_horizon(make_world: MakeWorld) -> World:
    """The proof of absence came too late."""
    world, clock = looked_for(make_world, 2, resend_horizon=timedelta(seconds=1000))
    for _ in range(2):
        clock.forward(1000)
        until_due(world, clock)
    return world


def vanished(make_world: MakeWorld) -> World:
    """EPAY told of the order, and now knows none."""
    world = make_world()
    put_control(world)
    world.ask(remark="sandbox:pending=600")
    at_epay(world).visible_at = float("inf")
    ask_epay(world)
    return world


def undocumented_status(make_world: MakeWorld) -> World:
    world = make_world()
    world.ask()
    until_epay_says(world, "7")
    world.gateway.report("order-1", "77", callback=False)
    ask_epay(world)
    return world


def abnormal(make_world: MakeWorld) -> World:
    world = make_world()
    world.ask(remark="sandbox:exception=60")
    until_epay_says(world, "11")
    ask_epay(world)
    return world


def overdue(make_world: MakeWorld) -> World:
    """EPAY does not come to an end."""
    world = make_world()
    clock = freeze_clock(world)
    world.ask(remark="sandbox:pending=600")
    clock.forward(world.context.policy.review_after.total_seconds() + 1)
    tick(world)
    return world


def unsent(make_world: MakeWorld) -> World:
    """EPAY cannot be reached at all."""
    world = make_world()
    clock = freeze_clock(world)
    put_queued(world, "order-1")
    clock.forward(world.context.policy.review_after.total_seconds() + 1)
    world.gateway.set_faults(down_seconds=30, mode="refuse")
    tick(world)
    world.gateway.clear_faults()
    return world


def above_cap(make_world: MakeWorld) -> World:
    world = make_world(cap_per_payout={"USD": Decimal(10)})
    world.ask()
    return world


def above_day_cap(make_world: MakeWorld) -> World:
    """The first of two fills the day."""
    world = make_world(cap_per_day={"USD": Decimal(20)})
    world.ask("order-0")
    world.ask()
    return world


def with_books(make_world: MakeWorld) -> World:
    """EPAY took another fee than it said."""
    world = make_world()
    clock = freeze_clock(world)
    paid(world)
    at_epay(world).fee = Decimal("0.55")
    clock.forward(2 * 86_400)
    world.context = replace(world.context, books_after=timedelta(hours=1))
    world.sql(
        "INSERT INTO payout_books SELECT epay_account, CAST(created_at AS date), 0, 0, 0, 0, now()"
        " FROM payout"
    )
    reconcile_day(world.context)
    return world


def unreadable(make_world: MakeWorld) -> World:
    """Its account number was encrypted with a key that the worker does not have."""
    world = make_world()
    freeze_clock(world)
    put_queued(world, "order-1")
    world.sql("UPDATE payout SET account_no = 'fernet:of-another-key'")
    tick(world)
    return world


def account_not_configured(make_world: MakeWorld) -> World:
    """Accepted for a sandbox, and taken by a worker of another account."""
    world = make_world(accounts=ConfiguredAccounts.one(ACCOUNT, "gateway.example"))
    put_queued(world, "order-1", epay_account="sandbox@epay.com", epay_gateway="sandbox:8080")
    tick(world)
    return world


Scenario = Callable[["MakeWorld"], "World"]
SCENARIOS: Mapping[str, Scenario] = {
    "mismatch": mismatch,
    "second_order": second_order,
    "contradiction": contradiction,
    "create_refused": create_refused,
    "query_refused": query_refused,
    "resend_horizon": resend_horizon,
    "vanished": vanished,
    "undocumented_status": undocumented_status,
    "abnormal": abnormal,
    "overdue": overdue,
    "unsent": unsent,
    "above_cap": above_cap,
    "above_day_cap": above_day_cap,
    "books": with_books,
    "unreadable": unreadable,
    "no_control": no_control,
    "unanswered": unanswered,
    "account_not_configured": account_not_configured,
}


def test_every_code_has_its_scenario() -> None:
    """A new code comes with a way to see it."""
    assert set(SCENARIOS) == CODES


@pytest.mark.parametrize("code", SCENARIOS)
def test_it_comes_to_pass(make_world: MakeWorld, code: str) -> None:
    """Through the tasks, on real parts; there is something to do about it, and it is on record."""
    world = SCENARIOS[code](make_world)
    [found] = find_details(world.engine, NO_ENCRYPTION, "order-1")
    payout = found.payout
    assert payout.review_reason is not None
    assert review.code_of(payout.review_reason) == code
    assert payout.review_since is not None
    offered = {act for act, _ in possible_actions(payout)}
    assert offered - {Action.NOTE}
    assert of_ledger(world)["payments"] <= 1


def documented() -> dict[str, tuple[str, str]]:
    """The table of docs/operations.md: code -> what it means, what to do."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    _, _, table = text.partition("| code | means | do |")
    rows = {}
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        code, means, do = (cell.strip() for cell in line.strip("|").split("|"))
        [name] = re.findall(r"`(\w+)`", code)
        rows[name] = (means, do)
        assert ("*(stays)*" in code) == (name in review.STICKY), name
    return rows


def test_every_code_has_its_line_in_the_docs() -> None:
    """What it means, and what to type."""
    rows = documented()
    assert set(rows) == CODES
    for code, (means, do) in rows.items():
        assert len(means.split()) > 4, code
        assert any(action.verb in do for action in Action), f"{code}: no action is named"


def test_every_code_has_its_words_in_the_command() -> None:
    assert set(MEANS) == CODES


def test_a_reason_is_set_by_a_known_code_alone() -> None:
    """No call of `review.flag` makes a code up on the spot, and none is left out of `review`."""
    used = set()
    for folder in ("shared", "worker", "webhook", "ops"):
        for path in (ROOT / folder).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(call, ast.Call):
                    continue
                if ast.unparse(call.func) not in {"review.flag", "_hold"}:
                    continue
                code = ast.unparse(call.args[1])
                if code != "code":  # handed on by _hold
                    assert code.startswith("review."), f"{path}: {code}"
                    used.add(getattr(review, code.removeprefix("review.")))
    assert used == CODES
