"""`payouts resolve --all-matching`: one decision for a selection, each payout judged by itself."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from ops.resolution.service import ActionResult, ResolutionService
from sandbox.server import Gateway
from shared.clock import utcnow
from shared.domain import lifecycle, review
from shared.domain.gateway import CreateOrder
from shared.domain.payout import PayoutState, Transition
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.storage.payout_store import PayoutStore
from tests.support import commands
from tests.support.commands import ACCOUNT, at_a_terminal
from tests.support.factories import make_service_payout
from tests.support.jobs import put_control_in

BY = ["--name", "Ann Smith", "--reason", "checked, ticket 7"]
BOB = ["--name", "Bob", "--reason", "checked too"]


@pytest.fixture
def resolve(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **environment: run(
        "resolve", "--all-matching", *arguments, **environment
    )


def in_review(engine: Engine, order_no: str, code: str, **changes: Any) -> PayoutState:
    """A queued payout in review."""
    store, payout = PayoutStore(engine), make_service_payout(order_no, utcnow(), **changes)
    [found] = store.insert([lifecycle.accept_queued(payout, now=payout.created_at)])
    assert found is not None
    return flagged(store, found, code)


def unknown(engine: Engine, order_no: str) -> PayoutState:
    """Overdue; sent an hour ago, without an answer."""
    return flagged(PayoutStore(engine), commands.unknown(engine, order_no), "overdue")


def flagged(store: PayoutStore, payout: PayoutState, code: str) -> PayoutState:
    found = store.update(
        payout.id, lambda fresh: Transition(fresh, review.flag(fresh, code, "words", utcnow()))
    )
    assert found is not None
    return found


def standing(engine: Engine) -> dict[str, tuple[str, str | None]]:
    """Status and review reason by order number."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT merchant_order_no, status, review_reason FROM payout")
        )
        return {row[0]: (row[1], row[2]) for row in rows}


def acts(engine: Engine) -> list[tuple[str, str]]:
    """Kind and actor of every action of a person, in order."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT kind, actor FROM payout_event WHERE actor LIKE 'person:%' ORDER BY id")
        )
        return [(row[0], row[1]) for row in rows]


def test_one_confirmation_shows_count_and_sums(
    resolve: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A no does nothing; a yes is recorded for each payout, and for no other."""
    in_review(engine, "a", "above_cap")
    in_review(engine, "b", "above_cap", amount=Decimal("2000.00"))
    in_review(engine, "c", "above_cap", amount=Decimal(5), currency="EUR")
    in_review(engine, "other", "above_day_cap")
    at_a_terminal(monkeypatch, "n")
    no = resolve("release", "--review-code", "above_cap", *BY)
    assert (no.code, "Nothing was done." in no.out) == (1, True)
    assert "release: 3 payouts, 5.00 EUR and 2010.50 USD." in no.out
    assert acts(engine) == []
    at_a_terminal(monkeypatch, "y")
    yes = resolve("release", "--review-code", "above_cap", *BY)
    assert (yes.code, "Done: 3 payouts, 5.00 EUR and 2010.50 USD." in yes.out) == (0, True)
    assert acts(engine) == [("release", "person:Ann Smith")] * 3
    left = {no for no, (_, reason) in standing(engine).items() if reason}
    assert left == {"other"}
    assert resolve("release", "--review-code", "above_cap", *BY, "--yes").out == (
        "No payout matches.\n"
    )


def test_the_selection_is_narrowed(resolve: Any, engine: Engine) -> None:
    in_review(engine, "a", "above_cap", currency="EUR")
    in_review(engine, "b", "above_cap", channel_code="16")
    in_review(engine, "c", "above_cap")
    where = ["--review-code", "above_cap", *BY, "--yes"]
    assert "1 payout, 10.50 EUR" in resolve("note", "--currency", "EUR", *where).out
    assert "1 payout, 10.50 USD" in resolve("note", "--channel", "16", *where).out
    assert "No payout matches" in resolve("note", "--status", "unknown", *where).out
    assert "No payout matches" in resolve("note", "--until", "2026-01-01", *where).out
    assert "No payout matches" in resolve("note", "--account", "x", *where).out
    assert "Done: 3 payouts" in resolve("note", "--since", "2026-01-01", *where).out


def test_each_is_asked_about_and_judged_alone(
    resolve: Any, engine: Engine, gateway: Gateway
) -> None:
    """EPAY shows one of them: that one is refused, with the rule; exit 3."""
    put_control_in(PayoutStore(engine), gateway)
    for order_no in ("a", "b", "c"):
        unknown(engine, order_no)
    client = EpayClient(EpayConfig(gateway.base_url, ACCOUNT, SecretStr("TESTKEY123")))
    client.create(
        CreateOrder("b", "10.50", "USD", "11", "U1234567890", remark="sandbox:pending=60")
    )
    client.close()
    ran = resolve("reject", "--review-code", "overdue", *BY, "--yes")
    assert ran.code == 3
    assert "EPAY is queried for each" in ran.out
    assert "Done: 2 payouts, 21.00 USD." in ran.out
    assert "Refused: 1 payout, 10.50 USD.\n  b: it is pending_withdrawal: EPAY has it" in ran.out
    assert {no: status for no, (status, _) in standing(engine).items()} == {
        "control-0": "succeeded",
        "a": "rejected",
        "b": "pending_withdrawal",
        "c": "rejected",
    }


def test_a_change_of_one_does_not_end_the_run(
    resolve: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another person was faster with the second of three."""
    payouts = [in_review(engine, order_no, "above_cap") for order_no in ("a", "b", "c")]
    act = ResolutionService.act

    def meanwhile(self: ResolutionService, payout: PayoutState, decision: Any) -> ActionResult:
        if payout.id == payouts[1].id:
            flagged(PayoutStore(engine), payout, "above_day_cap")
        return act(self, payout, decision)

    monkeypatch.setattr(ResolutionService, "act", meanwhile)
    ran = resolve("release", "--review-code", "above_cap", *BY, "--yes")
    assert ran.code == 3
    assert "Done: 2 payouts" in ran.out
    assert "  b: it is queued, in review for above_day_cap: words (since" in ran.out
    assert acts(engine) == [("release", "person:Ann Smith")] * 2


def test_an_interrupted_run_says_what_was_done(
    resolve: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same command does the rest."""
    payouts = [in_review(engine, order_no, "above_cap") for order_no in ("a", "b", "c")]
    act = ResolutionService.act

    def interrupted(self: ResolutionService, payout: PayoutState, decision: Any) -> ActionResult:
        if payout.id == payouts[1].id:
            raise KeyboardInterrupt
        return act(self, payout, decision)

    with monkeypatch.context() as patched:
        patched.setattr(ResolutionService, "act", interrupted)
        ran = resolve("release", "--review-code", "above_cap", *BY, "--yes")
    assert ran.code == 130
    assert "Done: 1 payout," in ran.out
    assert "Not tried: 2 payouts" in ran.out
    assert "Done: 2 payouts," in resolve("release", "--review-code", "above_cap", *BY, "--yes").out


def test_two_people(resolve: Any, engine: Engine, gateway: Gateway) -> None:
    """One proposes all, the same one may approve none, another approves them."""
    put_control_in(PayoutStore(engine), gateway)
    for order_no in ("a", "b"):
        unknown(engine, order_no)
    two = {"RESOLVE_SECOND_PERSON": "true"}
    overdue = ["--review-code", "overdue"]
    nothing = resolve("approve", *overdue, *BOB, "--yes", **two)
    assert (nothing.code, nothing.out) == (0, "No payout matches.\n")
    proposed = resolve("resend", *overdue, *BY, "--yes", **two)
    assert proposed.code == 0
    assert "Where a second person must approve, it is proposed." in proposed.out
    assert "Proposed: 2 payouts, 21.00 USD." in proposed.out
    same = resolve("approve", *overdue, *BY, "--yes", **two)
    assert same.code == 3
    assert "a: Ann Smith proposed it: another person must approve" in same.out
    approved = resolve("approve", *overdue, *BOB, "--yes", **two)
    assert approved.code == 0, approved
    assert "Ann Smith proposed resend: 2 payouts" in approved.out
    assert "Done: 2 payouts" in approved.out
    assert {standing(engine)[order_no] for order_no in ("a", "b")} == {("queued", None)}


WRONG: list[tuple[list[str], str]] = [
    (["release", *BY], "--all-matching needs --review-code"),
    (["a", "release", "--review-code", "above_cap", *BY], "--all-matching takes no order number"),
    (["a", "--review-code", "above_cap", *BY], "'a' is not one of resend"),
    (["release", "--review-code", "cap", *BY, "--yes"], "--review-code cap is not one of"),
    (["note", "--review-code", "above_cap", *BY], "add --yes"),
    (["reject", "--review-code", "overdue", "--since", "soon", *BY, "--yes"], "--since soon"),
    (["accept-as", "--review-code", "overdue", *BY, "--yes"], "accept-as needs --as"),
]


def test_what_is_wrong_is_said(resolve: Any, payouts: Any) -> None:
    for arguments, words in WRONG:
        ran = resolve(*arguments)
        assert ran.code == 2, ran
        assert words in " ".join(ran.err.replace("│", " ").split())
        assert "Traceback" not in ran.err
    alone = payouts("resolve", "order-1", *BY)
    assert (alone.code, "which action?" in alone.err) == (2, True)
    mixed = payouts("resolve", "order-1", "note", "--review-code", "overdue", *BY)
    assert (mixed.code, "go with --all-matching only" in mixed.err) == (2, True)
