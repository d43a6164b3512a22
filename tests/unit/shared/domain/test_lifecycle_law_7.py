"""Law 7, its pure part: every change has its event, and the events are a chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from shared.domain import hash_chain, lifecycle, reports
from shared.domain.gateway import NeverSent, OrderAnswer, Refused, Report
from shared.domain.payout import JournalEvent, PayoutState, Status, Transition, row_hash
from shared.domain.transitions import make_transition
from tests.support.factories import (
    ABSENT,
    LOST,
    POLICY,
    T0,
    VAGUE,
    after_send,
    make_payout,
    make_report,
    standing,
    unknown,
)
from tests.support.journal import MOVING, assert_chained, independent_hash, independent_row_hash

NOW = after_send(700)
AT = {"now": NOW, "policy": POLICY, "jitter": 0.0}


def query(payout: PayoutState, answer: OrderAnswer) -> Transition | None:
    """A query asked and answered at once."""
    return reports.on_query_answer(payout, answer, asked_at=NOW, **AT)


def create(payout: PayoutState, answer: OrderAnswer) -> Transition:
    """The end of a create request of the current claim."""
    return lifecycle.on_create_answer(payout, answer, claim_id="c1", **AT)


ENTRIES: list[tuple[str, str, Callable[[], Transition | None]]] = [
    ("accepted", "asker", lambda: lifecycle.accept_queued(make_payout(), now=T0)),
    (
        "accepted",
        "asker",
        lambda: lifecycle.accept(make_payout(), claim_id="c1", now=T0, policy=POLICY),
    ),
    (
        "submitting",
        "worker",
        lambda: lifecycle.claim_for_submission(
            standing(Status.QUEUED), claim_id="c1", now=NOW, policy=POLICY
        ),
    ),
    ("never_sent", "worker", lambda: create(standing(Status.SUBMITTING), NeverSent("refused"))),
    ("create_refused", "worker", lambda: create(standing(Status.SUBMITTING), VAGUE)),
    ("outcome_unknown", "worker", lambda: create(standing(Status.SUBMITTING), LOST)),
    (
        "create_report",
        "worker",
        lambda: create(standing(Status.SUBMITTING), make_report("1", "create")),
    ),
    ("query_report", "query", lambda: query(unknown(), make_report("7"))),
    ("no_such_order", "query", lambda: query(unknown(), ABSENT)),
    ("no_such_order", "query", lambda: query(standing(Status.PROCESSING), ABSENT)),
    ("query_refused", "query", lambda: query(unknown(), VAGUE)),
    (
        "callback_report",
        "epay",
        lambda: reports.on_callback(
            standing(Status.PROCESSING), make_report("7", "callback"), **AT
        ),
    ),
    (
        "callback_unverified",
        "anybody",
        lambda: reports.on_unverified_callback(
            standing(Status.PROCESSING), now=NOW, detail={"status": "7"}
        ),
    ),
    (
        "lease_over",
        "sweep",
        lambda: lifecycle.on_lease_expired(standing(Status.SUBMITTING), now=NOW),
    ),
    (
        "conflict",
        "asker",
        lambda: lifecycle.on_conflict(
            standing(Status.PROCESSING), now=NOW, conflicting=["amount", "currency"]
        ),
    ),
]


@pytest.mark.parametrize(("kind", "actor", "make"), ENTRIES, ids=[entry[0] for entry in ENTRIES])
def test_every_change_has_its_event(
    kind: str, actor: str, make: Callable[[], Transition | None]
) -> None:
    """Kind, actor, time, both statuses, the next number, and the hash over them."""
    step = make()
    assert step is not None
    event = step.event
    assert event is not None
    assert (event.kind, event.actor) == (kind, actor)
    assert event.at == step.after.updated_at
    assert event.status_before == (step.before.status if step.before else None)
    assert event.status_after == step.after.status
    assert event.sequence == (step.before.sequence if step.before else 0) + 1
    assert event.previous_hash == (step.before.journal_hash if step.before else hash_chain.GENESIS)
    assert event.row_hash == independent_row_hash(step.after)
    assert event.hash == independent_hash(event, step.after)
    assert (step.after.sequence, step.after.journal_hash) == (event.sequence, event.hash)


def test_details_say_what_was_said() -> None:
    """A report's own words are in the event, and what it left out is not."""
    step = query(unknown(), make_report("7", amount=Decimal(10), fee=None))
    assert step is not None
    assert step.event is not None
    assert step.event.detail == {
        "epay_status": "7",
        "epay_order_no": "E-9",
        "amount": "10",
        "currency": "USD",
    }


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (VAGUE, {"code": "500", "message": "busy", "asked_at": NOW.isoformat()}),
        (ABSENT, {"code": "404", "message": "order does not exist", "asked_at": NOW.isoformat()}),
    ],
)
def test_a_refused_query_is_on_record(answer: Refused, detail: dict[str, Any]) -> None:
    """With the time at which EPAY was asked: law 3 counts by it."""
    step = query(unknown(), answer)
    assert step is not None
    assert step.event is not None
    assert step.event.detail == detail | {"control": "missing"}


def test_a_conflict_names_the_fields_and_not_their_values() -> None:
    """Nothing moves."""
    step = lifecycle.on_conflict(
        standing(Status.PROCESSING), now=NOW, conflicting=["account_no", "amount"]
    )
    assert step.event is not None
    assert step.event.detail == {"differing": "account_no, amount"}
    assert step.after.status is standing(Status.PROCESSING).status
    assert step.after.due_at == standing(Status.PROCESSING).due_at


def test_a_whole_life_is_one_chain() -> None:
    """From the request to the end and the contradiction after it."""
    steps = [lifecycle.accept(make_payout(), claim_id="c1", now=T0, policy=POLICY)]

    def go(step: Transition | None) -> PayoutState:
        assert step is not None
        steps.append(step)
        return step.after

    payout = steps[0].after
    payout = go(create(payout, NeverSent("refused")))
    payout = go(lifecycle.claim_for_submission(payout, claim_id="c1", now=NOW, policy=POLICY))
    payout = go(lifecycle.on_lease_expired(payout, now=NOW + timedelta(days=1)))
    payout = go(query(payout, VAGUE))
    payout = go(query(payout, make_report("19")))
    payout = go(query(payout, make_report("7", amount=None)))
    payout = go(query(payout, make_report("7")))
    payout = go(reports.on_callback(payout, make_report("6", "callback"), **AT))
    assert [step.after.sequence for step in steps] == list(range(1, 10))
    assert_chained(steps)


def sealed() -> tuple[JournalEvent, PayoutState]:
    """An event and the payout that it belongs to."""
    step = make_transition(None, make_payout(), kind="k", actor="a", now=T0, detail={"x": "1"})
    assert step.event is not None
    return step.event, step.after


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 2},
        {"kind": "other"},
        {"actor": "other"},
        {"at": T0 + timedelta(microseconds=1)},
        {"status_before": Status.UNKNOWN},
        {"status_after": Status.SUCCEEDED},
        {"detail": {"x": "2"}},
        {"detail": {}},
        {"row_hash": "1" * 64},
        {"previous_hash": "1" * 64},
    ],
    ids=str,
)
def test_a_changed_event_shows(change: dict[str, Any]) -> None:
    """Whatever is altered, the hash is another."""
    event, payout = sealed()
    assert independent_hash(replace(event, **change), payout) != event.hash


@pytest.mark.parametrize("change", [{"epay_account": "x"}, {"merchant_order_no": "x"}], ids=str)
def test_an_event_cannot_be_given_to_another_payout(change: dict[str, Any]) -> None:
    """The payout's name is under the hash."""
    event, payout = sealed()
    assert independent_hash(event, replace(payout, **change)) != event.hash


def test_record_leaves_out_what_is_none() -> None:
    """An absent detail and a null are one."""
    step = make_transition(
        None, make_payout(), kind="k", actor="a", now=T0, detail={"a": None, "b": "", "c": 0}
    )
    assert step.event is not None
    assert step.event.detail == {"b": "", "c": 0}


def test_record_keeps_the_rest_of_the_payout() -> None:
    """Only number, hash and time are its own."""
    payout = make_payout()
    after = make_transition(None, payout, kind="k", actor="a", now=NOW, detail={}).after
    assert after == replace(payout, sequence=1, journal_hash=after.journal_hash, updated_at=NOW)


def test_the_same_row_has_the_same_digest_however_it_is_written() -> None:
    """A moment in another zone, or a decimal with more zeros, comes back from the database."""
    payout = make_payout(fee=Decimal("0.30"), finished_at=T0)
    elsewhere = T0.astimezone(timezone(timedelta(hours=8)))
    again = replace(
        payout,
        amount=Decimal(10),
        fee=Decimal("0.300"),
        finished_at=elsewhere,
        created_at=elsewhere,
    )
    assert row_hash(payout) == row_hash(again) == independent_row_hash(payout)


@pytest.mark.parametrize("name", [field.name for field in fields(PayoutState)])
def test_a_changed_row_shows(name: str) -> None:
    """Every field is under the digest, but for the payout's clock and the journal's own."""
    payout = make_payout()
    changed = replace(payout, **{name: "something else"})
    assert (row_hash(changed) == row_hash(payout)) == (name in MOVING)


def test_the_nonce_is_not_shown() -> None:
    """It keeps the digest from telling the account number to who can only read the journal."""
    assert "n0nce" not in repr(make_payout(nonce="n0nce"))


def test_the_account_number_is_in_no_text() -> None:
    """Neither in a payout's repr nor in any event."""
    payout = make_payout()
    step = lifecycle.accept(payout, claim_id="c1", now=T0, policy=POLICY)
    assert payout.account_no not in repr(payout)
    assert payout.account_no not in repr(step)


def test_reports_of_every_source_are_events() -> None:
    """Also one that changes nothing at all."""
    payout = standing(Status.SUCCEEDED)
    said: list[Report] = [make_report("7", source) for source in ("create", "query", "callback")]
    kinds = []
    for one in said:
        step = (
            create(payout, one)
            if one.source == "create"
            else query(payout, one)
            if one.source == "query"
            else reports.on_callback(payout, one, **AT)
        )
        assert step is not None
        assert step.event is not None
        kinds.append(step.event.kind)
    assert kinds == ["create_report", "query_report", "callback_report"]
