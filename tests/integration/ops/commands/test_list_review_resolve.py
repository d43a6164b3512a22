"""`payouts list`, `review`, `resolve`, `show --refresh`: answering for payouts from a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from click.testing import make_input_stream
from sqlalchemy import Engine, text

from devstack.wait import wait_for
from sandbox.server import Gateway
from sandbox.settings import SandboxConfig
from shared.clock import utcnow
from shared.config.builders import build_epay_config, name_policy
from shared.config.settings import Settings
from shared.domain import lifecycle, review
from shared.domain.gateway import CreateOrder, OutcomeUnknown
from shared.domain.payout import PayoutState, Transition
from shared.domain.policy import Policy
from shared.epay.client import EpayClient
from shared.storage import pauses, write_transitions
from shared.storage.engine import make_engine
from shared.storage.pauses import Scope
from shared.storage.payout_store import PayoutStore
from shared.storage.policy_record import record_policy
from shared.storage.refused_requests import Refusal
from tests.support.factories import make_service_payout
from tests.support.jobs import put_control_in
from tests.support.paths import PROGRAMS

ACCOUNT = "test2020@epay.com"
ACCOUNT_NO = "U1234567890"
BY = ["--name", "Ann Smith", "--reason", "EPAY says so, ticket 7"]
OLD = timedelta(hours=1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, pool_size=2)
    yield engine
    engine.dispose()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(SandboxConfig(pay_after=0.01)) as gateway:
        yield gateway


@pytest.fixture
def service(database_url: str, redis_url: str, gateway: Gateway) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EPAY_BASE_URL": gateway.base_url,
        "EPAY_ACCOUNT": ACCOUNT,
        "EPAY_API_KEY": "TESTKEY123",
        "EPAY_NOT_FOUND_CODES": "2001",
    }


@pytest.fixture
def run(payouts: Any, service: dict[str, str]) -> Callable[..., Any]:
    return lambda *arguments, **environment: payouts(*arguments, **(service | environment))


def new(order_no: str, age: timedelta = OLD, **changes: Any) -> PayoutState:
    fields = {"account_no": ACCOUNT_NO} | changes
    return make_service_payout(order_no, utcnow() - age, **fields)


def queued(engine: Engine, order_no: str, **changes: Any) -> PayoutState:
    payout = new(order_no, **changes)
    [found] = PayoutStore(engine).insert([lifecycle.accept_queued(payout, now=payout.created_at)])
    assert found is not None
    return found


def unknown(engine: Engine, order_no: str, age: timedelta = OLD) -> PayoutState:
    """Sent so long ago; EPAY's answer was lost."""
    payout, store, policy = new(order_no, age), PayoutStore(engine), Policy()
    at = payout.created_at
    [sent] = store.insert([lifecycle.accept(payout, claim_id="c", now=at, policy=policy)])
    assert sent is not None
    lost = lifecycle.on_create_answer(
        sent, OutcomeUnknown("read timeout"), claim_id="c", now=at, policy=policy, jitter=0.0
    )
    found = store.apply(lost)
    assert found is not None
    return found


def flagged(engine: Engine, payout: PayoutState, code: str) -> None:
    def decide(fresh: PayoutState) -> Transition:
        return Transition(fresh, review.flag(fresh, code, "in words", utcnow() - timedelta(days=2)))

    PayoutStore(engine).update(payout.id, decide)


def shown_by_epay(gateway: Gateway, order_no: str) -> None:
    """EPAY has the order after all, and pays it."""
    settings = Settings(
        epay_base_url=gateway.base_url, epay_account=ACCOUNT, epay_api_key="TESTKEY123"
    )
    client = EpayClient(build_epay_config(settings))
    client.create(CreateOrder(order_no, "10.50", "USD", "11", ACCOUNT_NO))
    client.close()
    wait_for(lambda: gateway.ledger()["orders"][order_no]["status"] == "7", 60, "EPAY to say 7")


def status_of(engine: Engine, order_no: str) -> str:
    found = PayoutStore(engine).find(ACCOUNT, order_no)
    assert found is not None
    return found.status.value


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Somebody sits there, and types."""
    monkeypatch.setattr("ops.commands.resolve._is_terminal", lambda: True)
    typed = "".join(f"{line}\n" for line in lines)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(make_input_stream(typed, "utf-8")))


# list


def test_list_finds_by_every_filter(run: Any, engine: Engine) -> None:
    """Newest first; each filter leaves what fits it."""
    queued(engine, "first", age=timedelta(days=3))
    second = unknown(engine, "second", age=timedelta(days=2)).created_at
    flagged(engine, queued(engine, "third", age=timedelta(days=1), currency="EUR"), "mismatch")
    queued(engine, "fourth", channel_code="16", due_at=None)
    queued(engine, "fifth", age=timedelta(0), epay_account="other@example.com")
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE payout SET due_at = now() + interval '1 h' WHERE status <> 'unknown'")
        )

    def found(*options: str) -> list[str]:
        ran = run("list", "--json", *options)
        assert (ran.code, ran.err) == (0, "")
        return [row["merchant_order_no"] for row in json.loads(ran.out)]

    everything = ["fifth", "fourth", "third", "second", "first"]
    assert found() == everything
    assert found("--status", "unknown") == ["second"]
    assert found("--status", "unknown", "--status", "queued") == everything
    assert found("--review") == found("--review-code", "mismatch") == ["third"]
    assert found("--review-code", "books") == []
    assert found("--currency", "EUR") == ["third"]
    assert found("--channel", "16") == ["fourth"]
    assert found("--account", "other@example.com") == ["fifth"]
    assert found("--account", " Other@EXAMPLE.com") == ["fifth"], "another spelling"
    assert run("show", "fifth", "--account", "Other@EXAMPLE.com").code == 0
    assert found("--due") == ["second"]
    assert found("--since", str(second.date()))[-1] == "second"
    assert found("--until", str(second.date())) == ["second", "first"]
    assert found("--until", (second - timedelta(minutes=1)).isoformat()) == ["first"]
    assert found("--limit", "0") == everything


def test_list_says_when_there_is_more(run: Any, engine: Engine) -> None:
    """On stderr, so that what reads stdout reads on."""
    for nth in range(3):
        queued(engine, f"order-{nth}")
    ran = run("list", "--json", "--limit", "2")
    assert len(json.loads(ran.out)) == 2
    assert "more than 2" in ran.err
    assert run("list", "--limit", "3").err == ""


def test_list_masks_and_prints_a_table(run: Any, engine: Engine) -> None:
    flagged(engine, queued(engine, "order-1"), "above_cap")
    ran = run("list")
    assert "order-1" in ran.out
    assert "10.50 USD" in ran.out
    assert "*******7890" in ran.out
    assert "above_cap" in ran.out
    assert ACCOUNT_NO not in ran.out
    assert run("list", "--currency", "XXX").out == "No payout matches.\n"


def test_list_as_csv_is_safe_in_a_spreadsheet(run: Any, engine: Engine) -> None:
    """A cell that would be a formula is none; account numbers are masked."""
    flagged(engine, queued(engine, "=1+2"), "mismatch")
    ran = run("list", "--csv")
    [row] = csv.DictReader(io.StringIO(ran.out))
    assert row["merchant_order_no"] == "'=1+2"
    assert row["amount"] == "10.50"
    assert row["review_reason"] == "mismatch: in words"
    assert ACCOUNT_NO not in ran.out


WRONG_LISTS: list[tuple[list[str], str]] = [
    (["--since", "23.11.2026"], "--since 23.11.2026 is not an ISO date"),
    (["--until", "2026-13-01"], "--until"),
    (["--review-code", "misprint"], "is not one of abnormal, above_cap, "),
    (["--status", "lost"], "lost"),
    (["--limit", "-1"], "--limit"),
    (["--json", "--csv"], "exclude each other"),
]


def test_list_says_what_is_wrong(run: Any, engine: Engine) -> None:
    for options, words in WRONG_LISTS:
        ran = run("list", *options)
        assert ran.code == 2, options
        assert words in ran.err
        assert "Traceback" not in ran.err


def test_list_shows_refused_requests(run: Any, engine: Engine) -> None:
    """The last refused first, as a table or as JSON."""
    assert run("list", "--refused").out == "No refused request matches.\n"
    for nth in range(3):
        refusal = Refusal(
            at=utcnow() - timedelta(days=nth),
            source="gen1@shop",
            merchant_order_no=f"order-{nth}",
            account_no="*******7890",
            code="missing_field",
            field="amount",
            message="Field required",
        )
        PayoutStore(engine).record_refused_request(refusal)
    ran = run("list", "--refused", "--limit", "2")
    assert "more than 2" in ran.err
    for words in ("order-2", "order-1", "*******7890", "gen1@shop", "amount: Field required"):
        assert words in ran.out, words
    assert "order-0" not in ran.out
    found = json.loads(run("list", "--refused", "--json", "--since", f"{utcnow():%F}").out)
    assert [(row["merchant_order_no"], row["code"]) for row in found] == [
        ("order-0", "missing_field")
    ]
    ran = run("list", "--refused", "--status", "queued")
    assert ran.code == 2
    assert "--refused goes with" in ran.err


# review


def test_review_says_why_since_when_and_what_to_type(run: Any, engine: Engine) -> None:
    """The longest waiting first; a printed command does what is said of it."""
    flagged(engine, queued(engine, "order 1"), "above_cap")
    flagged(engine, unknown(engine, "order-2"), "query_refused")
    queued(engine, "nothing-wrong")
    ran = run("review")
    assert (ran.code, ran.err) == (0, "")
    assert "nothing-wrong" not in ran.out
    assert "why: above_cap: in words" in ran.out
    assert "CAP_PER_PAYOUT" in ran.out
    assert "2 days" in ran.out
    [typed] = [line for line in ran.out.splitlines() if "release" in line and "--name" in line]
    arguments = shlex.split(typed.replace("YOU", "Ann"))
    assert arguments[0] == "payouts"
    assert run(*arguments[1:], "--yes").code == 0
    [left] = json.loads(run("review", "--json").out)
    assert (left["merchant_order_no"], left["code"]) == ("order-2", "query_refused")
    assert {choice["act"] for choice in left["choices"]} >= {"resend", "reject", "accept-as"}


def test_review_of_nothing(run: Any, engine: Engine) -> None:
    assert run("review").out == "No payout needs a decision.\n"
    assert run("review", "--json").out == "[]\n"


def test_review_says_when_there_is_more(run: Any, engine: Engine) -> None:
    for nth in range(2):
        flagged(engine, unknown(engine, f"order-{nth}"), "overdue")
    assert "more than 1" in run("review", "--limit", "1").err


# resolve


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


# show --refresh


def test_show_asks_epay_now(run: Any, engine: Engine, gateway: Gateway) -> None:
    """Its answer is recorded and shown at once; away, what was known is shown, and exit 2."""
    unknown(engine, "order-1")
    shown_by_epay(gateway, "order-1")
    ran = run("show", "order-1", "--refresh", "--json")
    assert ran.code == 0
    assert "EPAY answers status 7 (succeeded)" in ran.err
    assert json.loads(ran.out)[0]["payout"]["status"] == "succeeded"
    unknown(engine, "order-2")
    away = run("show", "order-2", "--refresh", EPAY_BASE_URL="http://127.0.0.1:1/capi/openapi")
    assert away.code == 2
    assert "EPAY could not be queried" in away.err
    assert "unknown" in away.out


def test_a_reason_that_a_command_sets_is_logged_beside_its_answer(
    run: Any, engine: Engine, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr: stdout stays JSON."""
    monkeypatch.setattr(write_transitions, "log", structlog.get_logger())  # as in a new process
    unknown(engine, "order-1")
    shown_by_epay(gateway, "order-1")
    order = gateway.book.find("order-1")
    assert order is not None
    order.amount += 1
    ran = run("show", "order-1", "--refresh", "--json")
    assert json.loads(ran.out)[0]["payout"]["review_reason"].startswith("mismatch: ")
    assert "review_reason_set" in ran.err
    assert "code=mismatch" in ran.err


# doctor


def test_doctor_tells_of_pauses_and_messages(run: Any, engine: Engine, redis_url: str) -> None:
    """A pause is no illness; a parked message is one, and says where to read what to do."""
    PayoutStore(engine).claim_due(utcnow(), utcnow(), 1)
    pauses.pause(engine, Scope(currency="USD"), "Ann", "EPAY's evening", utcnow())
    flagged(engine, queued(engine, "order-1", age=timedelta(0)), "above_cap")
    with redis.Redis.from_url(redis_url) as client:
        client.lpush("payouts", "a", "b")
        found = {one["what"]: one for one in json.loads(run("doctor", "--json").out)}
        client.lpush("payouts.parked", "a")
        ill = run("doctor")
    assert found["pauses"]["ok"]
    assert "currency USD" in found["pauses"]["words"]
    assert "Ann (EPAY's evening)" in found["pauses"]["words"]
    assert "payouts 2, " in found["messages waiting"]["words"]
    fine = {"what": "parked messages", "mark": "ok", "ok": True, "words": "none"}
    assert found["parked messages"] == fine
    assert (found["pauses"]["mark"], found["review"]["mark"]) == ("WARN", "WARN")
    assert "payouts review" in found["review"]["words"]
    assert "authentication OK" in found["gateway"]["words"]
    assert "schema (0" in found["postgresql"]["words"]
    assert ill.code == 1
    assert "FAIL parked messages: 1 could not be processed" in ill.out
    assert "docs/operations.md" in ill.out


# the command as a whole


def test_doctor_fails_when_a_review_waits_for_too_long(run: Any, engine: Engine) -> None:
    """By default it says how many and for how long; with --max-review-age it fails."""
    PayoutStore(engine).claim_due(utcnow(), utcnow(), 1)

    def review_line(*options: str) -> tuple[int, str]:
        ran = run("doctor", *options)
        return ran.code, next(line for line in ran.out.splitlines() if " review: " in line)

    assert review_line() == (0, "ok   review: no payout is in review")
    assert review_line("--max-review-age", "0s")[0] == 0
    flagged(engine, queued(engine, "order-1", due_at=None), "above_cap")
    flagged(engine, queued(engine, "order-2", due_at=None), "above_cap")
    with engine.begin() as connection:
        connection.execute(text("UPDATE payout SET due_at = now() + interval '1 h'"))
    waiting = "2 payouts in review, the oldest for 2 d 0 h"
    assert review_line() == (0, f"WARN review: {waiting}: see `payouts review`")
    assert review_line("--max-review-age", "3d")[0] == 0
    code, line = review_line("--max-review-age", "47h")
    assert code == 1
    assert line == f"FAIL review: {waiting}, longer than 1 d 23 h: see `payouts review`"
    for wrong in ("2", "1w", "-1h", "2 d", "1h30m"):
        ran = run("doctor", f"--max-review-age={wrong}")
        assert (ran.code, "is not a duration" in ran.err.replace("\n", " ")) == (2, True), wrong


def test_help_ends_with_the_exit_codes(run: Any) -> None:
    words = " ".join(run("--help").out.split())
    assert "Exit codes: 0 done; 1" in words
    assert "3 a rule forbids it; 130 interrupted" in words


def completed(home: Path, *arguments: str, **environment: str) -> str:
    """What `payouts` prints as a shell would run it."""
    command = [str(PROGRAMS / "payouts"), *arguments]
    names = {"HOME": str(home), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ran = subprocess.run(
        command, env=os.environ | names | environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_completion(tmp_path: Path) -> None:
    """The shell's script is printed, and it completes the acts."""
    script = completed(tmp_path, "--show-completion", "bash")
    assert "_payouts_completion" in script
    words = {"_PAYOUTS_COMPLETE": "complete_bash", "COMP_WORDS": "payouts resolve order-1 re"}
    offered = completed(tmp_path, **words, COMP_CWORD="3").split()
    assert offered == ["resend", "reject", "release"]


def test_nothing_is_coloured_in_a_pipe(run: Any, engine: Engine) -> None:
    """No escape reaches a pipe, whoever wrote it: neither rich nor EPAY."""
    payout = queued(engine, "order-1")

    def decide(fresh: PayoutState) -> Transition:
        return Transition(fresh, review.flag(fresh, review.MISMATCH, "\x1b[31mred\x9b", utcnow()))

    PayoutStore(engine).update(payout.id, decide)
    for command in (
        ["list"],
        ["list", "--csv"],
        ["list", "--json"],
        ["review"],
        ["review", "--json"],
        ["show", "order-1"],
        ["show", "order-1", "--json"],
        ["doctor"],
        ["resolve", "order-1", "settle", *BY, "--yes"],
        ["resolve", "--help"],
    ):
        ran = run(*command)
        assert not {"\x1b", "\x9b"} & set(ran.out + ran.err), command
