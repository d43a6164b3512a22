"""`payouts resolve`: answering for one payout from a terminal."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from sandbox.server import Gateway
from shared.clock import utcnow
from shared.config.builders import name_policy
from shared.config.settings import Settings
from shared.storage.payout_store import PayoutStore
from shared.storage.policy_record import record_policy
from tests.support.commands import (
    ACCOUNT,
    BY,
    at_a_terminal,
    queued,
    shown_by_epay,
    status_of,
    unknown,
)
from tests.support.jobs import put_control_in


def test_a_resend_without_a_terminal(run: Any, engine: Engine, gateway: Gateway) -> None:
    """EPAY's answer, what was done; name and reason on record and shown. Not without --yes."""
    put_control_in(PayoutStore(engine), gateway)
    unknown(engine, "order-1")
    unasked = run("resolve", "order-1", "resend", *BY)
    assert (unasked.code, "add --yes" in unasked.err) == (2, True)
    ran = run("resolve", "order-1", "resend", *BY, "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert "EPAY answers code 2001: order does not exist" in ran.out
    assert "order-1 is queued" in ran.out
    shown = run("show", "order-1").out
    assert "person:Ann Smith" in shown
    assert "EPAY says so, ticket 7" in shown


def test_what_epay_shows_is_not_sent_again(run: Any, engine: Engine, gateway: Gateway) -> None:
    """A rule forbids it: exit 3, the rule in words, EPAY's report recorded."""
    unknown(engine, "order-1")
    shown_by_epay(gateway, "order-1")
    ran = run("resolve", "order-1", "resend", *BY, "--yes")
    assert ran.code == 3
    assert "resend is refused: it is succeeded" in ran.err
    assert status_of(engine, "order-1") == "succeeded"
    assert gateway.ledger()["orders"]["order-1"]["creates_received"] == 1


def test_an_answer_that_epay_gives_itself_is_taken(
    run: Any, engine: Engine, gateway: Gateway
) -> None:
    unknown(engine, "order-1")
    shown_by_epay(gateway, "order-1")
    ran = run("resolve", "order-1", "accept-as", "--as", "succeeded", *BY, "--yes")
    assert ran.code == 0
    assert "EPAY's answer already says so: order-1 is succeeded" in ran.out


def test_a_person_at_a_terminal_is_asked(
    run: Any, engine: Engine, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EPAY's fresh answer is shown first; a no does nothing, a yes does it."""
    put_control_in(PayoutStore(engine), gateway)
    unknown(engine, "order-1")
    at_a_terminal(monkeypatch, "n")
    no = run("resolve", "order-1", "reject", *BY)
    assert no.code == 1
    assert "EPAY answers code 2001" in no.out
    assert "Nothing was done." in no.out
    assert status_of(engine, "order-1") == "unknown"
    at_a_terminal(monkeypatch, "y")
    assert run("resolve", "order-1", "reject", *BY).code == 0
    assert status_of(engine, "order-1") == "rejected"


def test_without_a_configured_code_its_meaning_is_a_persons_word(
    run: Any, engine: Engine, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal it is asked for; without one it must be named."""
    put_control_in(PayoutStore(engine), gateway)
    unknown(engine, "order-1")
    bare = {"EPAY_NOT_FOUND_CODES": ""}
    ran = run("resolve", "order-1", "resend", *BY, "--yes", **bare)
    assert (ran.code, "--code 2001" in ran.err) == (3, True)
    assert run("resolve", "order-1", "resend", *BY, "--yes", "--code", "2001", **bare).code == 0
    unknown(engine, "order-2")
    at_a_terminal(monkeypatch, "y")
    asked = run("resolve", "order-2", "reject", *BY, **bare)
    assert asked.code == 0, asked
    assert "code 2001 means: you answer for it" in asked.out


def test_two_people(
    run: Any, engine: Engine, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposed, listed, refused to the same person, approved by another."""
    put_control_in(PayoutStore(engine), gateway)
    unknown(engine, "order-1")
    two = {"RESOLVE_SECOND_PERSON": "true"}
    ran = run("resolve", "order-1", "resend", *BY, "--yes", **two)
    assert (ran.code, "Another person must approve" in ran.out) == (0, True)
    assert status_of(engine, "order-1") == "unknown"
    listed = run("review", **two).out
    assert "Ann Smith proposed: resend (EPAY says so, ticket 7)" in listed
    assert "order-1 approve" in listed
    assert "once a second person approves" in listed
    assert "APPROVAL PENDING" in run("show", "order-1", **two).out
    same = run("resolve", "order-1", "approve", *BY, "--yes", **two)
    assert (same.code, "another person must approve" in same.err) == (3, True)
    bob = ["--name", "Bob", "--reason", "checked"]
    at_a_terminal(monkeypatch, "y")
    ran = run("resolve", "order-1", "approve", *bob, **two)
    assert ran.code == 0
    assert "Ann Smith proposed: resend" in ran.out
    assert status_of(engine, "order-1") == "queued"
    again = run("resolve", "order-1", "approve", *bob, "--yes", **two)
    assert (again.code, "nothing is proposed" in again.err) == (3, True)


WRONG: list[tuple[list[str], int, str]] = [
    (["no-such", "note", *BY], 2, "there is no payout no-such"),
    (["order-1", "pay-twice", *BY], 2, "pay-twice"),
    (["order-1", "resend", "--name", "Ann"], 2, "--reason"),
    (["order-1", "resend", "--reason", "why"], 2, "--name"),
    (["order-1", "note", "--name", " ", "--reason", "why"], 2, "--name must be"),
    (["order-1", "note", "--name", "Ann", "--reason", "\x1b[31m"], 2, "--reason must be"),
    (["order-1", "note", "--name", "Ann", "--reason", "x" * 1001], 2, "1 to 1000"),
    (["order-1", "accept-as", *BY, "--yes"], 2, "--as with one of cancelled, closed"),
    (["order-1", "resend", "--as", "failed", *BY, "--yes"], 2, "--as"),
    (["order-1", "accept-as", "--as", "rejected", *BY, "--yes"], 2, "rejected"),
    (["order-1", "release", *BY, "--yes"], 3, "no cap holds it"),
    (["order-1", "dismiss", *BY, "--yes"], 3, "dismiss is refused: it is not in review"),
    (["order-1", "settle", *BY, "--yes"], 3, "it is not in review"),
    (["order-1", "note", "--account", "other@example.com", *BY], 2, "there is no payout"),
]


def test_the_policy_is_that_of_the_service_not_of_the_shell(
    run: Any,
    engine: Engine,
    gateway: Gateway,
    service: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under other settings nothing is decided, and the difference is named."""
    unknown(engine, "order-1")
    put_control_in(PayoutStore(engine), gateway)
    with monkeypatch.context() as patch:
        for name, value in service.items():
            patch.setenv(name, value)
        served = Settings(_env_file=None, resolve_second_person=True, cap_per_day={"USD": 900})
    record_policy(engine, name_policy(served), utcnow())
    for arguments in (
        ["resolve", "order-1", "reject", *BY, "--yes"],
        ["resolve", "order-1", "note", *BY],
        ["show", "order-1", "--refresh"],
    ):
        ran = run(*arguments)
        assert ran.code == 3
        assert "RESOLVE_SECOND_PERSON is false here and true in the workers" in ran.err
        assert "CAP_PER_DAY is not set here and USD:900.00 in the workers" in ran.err
        assert "EPAY_SETTLE_SECONDS" not in ran.err
    assert status_of(engine, "order-1") == "unknown"
    assert "RESOLVE_SECOND_PERSON is false here" in run("controls").err
    assert "WARN policy: CAP_PER_DAY is not set here" in run("doctor").out
    same = {"RESOLVE_SECOND_PERSON": "true", "CAP_PER_DAY": "USD:900"}
    assert run("resolve", "order-1", "reject", *BY, "--yes", **same).code == 0
    assert run("controls", **same).err == ""


def test_resolve_says_what_is_wrong(run: Any, engine: Engine) -> None:
    """Exit 2: it could not be done so. Exit 3: a rule forbids it. Nothing is changed."""
    before = unknown(engine, "order-1")
    for arguments, code, words in WRONG:
        ran = run("resolve", *arguments)
        assert ran.code == code, ran
        assert words in " ".join(ran.err.replace("│", " ").split())
        assert "Traceback" not in ran.err
    assert PayoutStore(engine).find(ACCOUNT, "order-1") == before


def test_one_order_number_of_two_accounts(run: Any, engine: Engine) -> None:
    """It must be said which; and EPAY is asked only about our own."""
    unknown(engine, "order-1")
    queued(engine, "order-1", epay_account="other@example.com")
    ran = run("resolve", "order-1", "note", *BY)
    assert (ran.code, "--account" in ran.err) == (2, True)
    other = ["--account", "other@example.com", "--yes"]
    ran = run("resolve", "order-1", "reject", *BY, *other)
    assert (ran.code, "other@example.com is not configured here" in ran.err) == (3, True)


def test_epay_away_is_no_answer(run: Any, engine: Engine) -> None:
    unknown(engine, "order-1")
    away = {"EPAY_BASE_URL": "http://127.0.0.1:1/capi/openapi"}
    ran = run("resolve", "order-1", "resend", *BY, "--yes", **away)
    assert (ran.code, "try again when it answers" in ran.err) == (3, True)
    assert status_of(engine, "order-1") == "unknown"
