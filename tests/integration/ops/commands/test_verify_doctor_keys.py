"""`payouts verify`, `doctor`, `new-key` and `rotate-keys`, as a person runs them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import Engine, text

from sandbox.server import Gateway
from sandbox.settings import SandboxConfig
from shared.clock import utcnow
from shared.config.settings import Settings
from shared.domain import lifecycle
from shared.domain.accounts import gateway_of
from shared.domain.gateway import CreateOrder
from shared.domain.payout import PayoutState
from shared.domain.policy import Policy
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.messaging.owner import KEY, owner_of
from shared.storage import deployment, pauses
from shared.storage.encryption import new_key
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_service_payout

ACCOUNT_NO = "U1234567890"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, pool_size=1)
    yield engine
    engine.dispose()


@pytest.fixture
def payout(engine: Engine) -> PayoutState:
    """One payout on disk."""
    now = datetime.now(UTC)
    new = make_service_payout("order-1", now, account_no=ACCOUNT_NO)
    step = lifecycle.accept(new, claim_id="c", now=now, policy=Policy())
    accepted = PayoutStore(engine).insert([step])[0]
    assert accepted is not None
    return accepted


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(SandboxConfig()) as gateway:
        yield gateway


def service(database_url: str, redis_url: str, gateway: Gateway) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EPAY_BASE_URL": gateway.base_url,
        "EPAY_ACCOUNT": "test2020@epay.com",
        "EPAY_API_KEY": "TESTKEY123",
    }


def put_unsent(engine: Engine, *queues: str) -> None:
    """A message for an app on each queue that nobody has sent."""
    insert = text(
        "INSERT INTO payout_outbox (task, queue, kwargs, created_at) VALUES ('t', :q, '{}', now())"
    )
    with engine.begin() as connection:
        connection.execute(insert, [{"q": queue} for queue in queues])


def test_verify_names_a_changed_payout(
    payouts: Any, payout: PayoutState, engine: Engine, database_url: str
) -> None:
    """Whole chains: exit 0. An amount altered outside the application: its name, and exit 1."""
    assert payout.id
    whole = payouts("verify", DATABASE_URL=database_url)
    assert (whole.code, "journal intact" in whole.out) == (0, True)
    with engine.begin() as connection:
        connection.execute(text("UPDATE payout SET amount = 99"))
    broken = payouts("verify", DATABASE_URL=database_url)
    assert broken.code == 1
    assert "order-1" in broken.out


def test_doctor_finds_a_healthy_service_healthy(
    payouts: Any, engine: Engine, database_url: str, redis_url: str, gateway: Gateway
) -> None:
    """Settings, servers, schema, clock, sweep and gateway are in order: exit 0."""
    PayoutStore(engine).claim_due(utcnow(), utcnow(), 1)
    ran = payouts(
        "doctor", "--json", **service(database_url, redis_url, gateway), EPAY_NOT_FOUND_CODES="2001"
    )
    findings = {one["what"]: one for one in json.loads(ran.out)}
    assert ran.code == 0, findings
    assert "authentication OK" in findings["gateway"]["words"]
    assert "ago" in findings["sweep"]["words"]


def test_doctor_names_every_failure(
    payouts: Any, empty_database_url: str, gateway: Gateway
) -> None:
    """No sweep, no tables, no Redis, a wrong key: each in words that say what to do, and exit 1."""
    environment = service(empty_database_url, "redis://127.0.0.1:1/0", gateway)
    ran = payouts(
        "doctor", **(environment | {"EPAY_API_KEY": "wrong"}), EPAY_NOT_FOUND_CODES="2001"
    )
    assert ran.code == 1
    assert "FAIL redis: does not answer" in ran.out
    assert "payouts migrate" in ran.out
    assert "EPAY_API_KEY or EPAY_ACCOUNT is wrong" in ran.out


def test_doctor_without_redis_while_messages_wait(
    payouts: Any, engine: Engine, database_url: str, gateway: Gateway
) -> None:
    """Their queues cannot be looked at; the line of Redis says why."""
    put_unsent(engine, "shop.good")
    ran = payouts("doctor", **service(database_url, "redis://127.0.0.1:1/0", gateway))
    assert ran.code == 1
    assert "FAIL redis: does not answer" in ran.out
    assert "gateway: " in ran.out


@pytest.mark.parametrize("fault", ["no file", "another account", "no TOML", "a wrong cipher"])
def test_doctor_prints_every_line_whatever_the_settings(
    payouts: Any,
    engine: Engine,
    database_url: str,
    redis_url: str,
    gateway: Gateway,
    tmp_path: Path,
    fault: str,
) -> None:
    """As JSON too: a program reads the FAIL, with its mark."""
    file = tmp_path / "accounts.toml"
    if fault != "no file":
        file.write_text("[[account]" if fault == "no TOML" else ACCOUNTS)
    changes = {"EPAY_ACCOUNTS_FILE": str(file)}
    if fault == "a wrong cipher":
        changes = {"ACCOUNT_ENCRYPTION_KEYS": "nonsense"}
    ran = payouts("doctor", "--json", **service(database_url, redis_url, gateway) | changes)
    found = {one["what"]: one for one in json.loads(ran.out)}
    assert ran.code == 1
    assert (found["settings"]["mark"], found["settings"]["ok"]) == ("FAIL", False)
    assert (found["postgresql"]["mark"], found["postgresql"]["ok"]) == ("ok", True)
    assert found["pauses"]["words"] == "none"


ACCOUNTS = """
[[account]]
account = "first@example.com"
base_url = "http://127.0.0.1:1/capi/openapi"
api_key = "k"

[[account]]
account = "second@example.com"
base_url = "http://127.0.0.1:1/capi/openapi"
api_key = "l"
not_found_codes = ["2001"]
"""


def test_doctor_judges_the_codes_of_each_account(
    payouts: Any, engine: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(ACCOUNTS)
    ran = payouts(
        "doctor", DATABASE_URL=database_url, REDIS_URL=redis_url, EPAY_ACCOUNTS_FILE=str(file)
    )
    assert "WARN settings of first@example.com: EPAY_NOT_FOUND_CODES is empty" in ran.out
    assert "settings of second@example.com" not in ran.out


def test_doctor_says_how_each_pause_ends(
    payouts: Any, engine: Engine, database_url: str, redis_url: str, gateway: Gateway
) -> None:
    """`payouts recover` is for a changed database alone."""
    pauses.RefusalPause(engine, "shop@example.com").begin("EPAY refuses order-1", utcnow())
    ran = payouts("doctor", **service(database_url, redis_url, gateway))
    [line] = [line for line in ran.out.splitlines() if "pauses:" in line]
    assert "`payouts resume --account shop@example.com` lifts it" in line
    assert "recover" not in line


def test_doctor_refuses_the_redis_of_another_database(
    payouts: Any, engine: Engine, database_url: str, redis_url: str, gateway: Gateway
) -> None:
    """Account and gateway are the same: only the token tells them apart."""
    token = deployment.pin(engine).token
    mark = owner_of(Settings(_env_file=None), "another")
    with redis.Redis.from_url(redis_url) as client:
        client.hset(KEY, mapping=mark)
        ran = payouts("doctor", **service(database_url, redis_url, gateway))
        assert "FAIL redis: Redis at REDIS_URL is used with another database" in ran.out
        client.hset(KEY, "database", token)
        ran = payouts("doctor", **service(database_url, redis_url, gateway))
        client.delete(KEY)
    assert "ok   redis: answers" in ran.out


def test_the_key_is_proven_by_a_payout_that_epay_ended(
    payouts: Any, engine: Engine, database_url: str, redis_url: str
) -> None:
    """The newest of the account; the right key is told from a wrong one also by one code."""
    order, now = "order-7", utcnow() - timedelta(hours=1)
    with Gateway(SandboxConfig(not_found_code=2002)) as gateway:
        home = gateway_of(gateway.base_url)
        store = PayoutStore(engine)
        new = make_service_payout(order, now, account_no=ACCOUNT_NO, epay_gateway=home)
        claimed = store.insert([lifecycle.accept(new, claim_id="c", now=now, policy=Policy())])[0]
        assert claimed is not None
        environment = service(database_url, redis_url, gateway)
        config = SandboxConfig()
        with_client = EpayClient(
            EpayConfig(gateway.base_url, config.account, SecretStr(config.api_key))
        )
        answer = with_client.create(
            CreateOrder(order, "10.50", claimed.currency, claimed.channel_code, ACCOUNT_NO)
        )
        with_client.close()
        step = lifecycle.on_create_answer(
            claimed, answer, claim_id="c", now=now, policy=Policy(), jitter=0.0
        )
        store.apply(step)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE payout SET status = 'succeeded', epay_status = '7', due_at = NULL,"
                    " finished_at = now()"
                )
            )
        right = payouts("doctor", **environment)
        wrong = payouts("doctor", **environment | {"EPAY_API_KEY": "sk-mistyped"})
    assert f"authentication OK: it shows {order}" in right.out
    assert f"EPAY refuses {order}, an order that it must know" in wrong.out
    assert ACCOUNT_NO not in right.out + wrong.out


def test_doctor_tells_a_wrong_key_from_a_code_that_is_not_known(
    payouts: Any, engine: Engine, database_url: str, redis_url: str, gateway: Gateway
) -> None:
    """On the first day no code is configured: a wrong key fails, and its code is not suggested."""
    PayoutStore(engine).claim_due(utcnow(), utcnow(), 1)
    environment = service(database_url, redis_url, gateway)
    right = payouts("doctor", **environment)
    assert right.code == 0
    assert "WARN gateway: the key is not proven: EPAY judges the signatures" in right.out
    assert "Ask EPAY what code 2001 means" in right.out
    wrong = payouts("doctor", **(environment | {"EPAY_API_KEY": "sk-mistyped"}))
    assert wrong.code == 1
    assert "Do not add this code to EPAY_NOT_FOUND_CODES" in wrong.out
    assert "sk-mistyped" not in wrong.out


@pytest.mark.parametrize(
    ("name", "code"),
    [("EPAY_REFUSED_CODES", 1), ("EPAY_DUPLICATE_CODES", 1), ("EPAY_NOT_FOUND_CODES", 0)],
)
def test_doctor_finds_the_code_of_a_wrong_signature_in_a_list(
    payouts: Any,
    engine: Engine,
    database_url: str,
    redis_url: str,
    gateway: Gateway,
    name: str,
    code: int,
) -> None:
    """Where it would judge payouts."""
    PayoutStore(engine).claim_due(utcnow(), utcnow(), 1)
    lists = {"EPAY_NOT_FOUND_CODES": "2001", "EPAY_REFUSED_CODES": "", "EPAY_DUPLICATE_CODES": ""}
    lists[name] = f"{lists[name]},2002"
    ran = payouts("doctor", **service(database_url, redis_url, gateway), **lists)
    assert f"a wrong signature gets code 2002, which is in {name}" in ran.out
    assert ran.code == code


def test_doctor_misses_the_sweep(
    payouts: Any, payout: PayoutState, database_url: str, redis_url: str, gateway: Gateway
) -> None:
    """Nothing swept ever: it says which processes to look at."""
    assert payout.due_at
    ran = payouts("doctor", **service(database_url, redis_url, gateway))
    assert ran.code == 1
    assert "FAIL sweep: never ran" in ran.out


def test_keys_are_made_and_changed(
    payouts: Any, payout: PayoutState, engine: Engine, database_url: str
) -> None:
    """A new key, then every stored number under it; show goes on masking the same number."""
    assert payout.id
    key = payouts("new-key").out.strip()
    ran = payouts("rotate-keys", DATABASE_URL=database_url, ACCOUNT_ENCRYPTION_KEYS=key)
    assert ": 1 account number." in ran.out
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT account_no FROM payout")).scalar_one()
    assert ACCOUNT_NO not in stored
    shown = payouts("show", "order-1", DATABASE_URL=database_url, ACCOUNT_ENCRYPTION_KEYS=key)
    assert "*******7890" in shown.out
    locked_out = payouts(
        "rotate-keys", DATABASE_URL=database_url, ACCOUNT_ENCRYPTION_KEYS=new_key()
    )
    assert locked_out.code == 2
    assert "1 account number still need an older key" in locked_out.err


def test_an_exported_journal_has_its_hashes(
    payouts: Any, payout: PayoutState, database_url: str
) -> None:
    """For a dispute: every event with its hash, the row with the last one, no account number."""
    ran = payouts("show", "order-1", "--export", DATABASE_URL=database_url)
    [story] = json.loads(ran.out)
    assert story["events"][-1]["hash"] == story["payout"]["journal_hash"] == payout.journal_hash
    assert ACCOUNT_NO not in ran.out


def test_doctor_names_a_queue_that_refuses(
    payouts: Any, engine: Engine, database_url: str, redis_url: str, gateway: Gateway
) -> None:
    """Law 15: one app's queue is a key of another kind: it is named, with what stands there."""
    PayoutStore(engine).claim_due(utcnow(), utcnow(), 1)
    put_unsent(engine, "shop.bad", "shop.good")
    with redis.Redis.from_url(redis_url) as client:
        client.set("shop.bad", "something else")
        ran = payouts("doctor", **service(database_url, redis_url, gateway))
        client.delete("shop.bad")
    assert ran.code == 1
    assert "FAIL queue shop.bad: 1 message for an app" in ran.out
    assert "the key shop.bad is a string and not a list" in ran.out
    assert "shop.good" not in ran.out


def test_doctor_names_a_clock_that_was_set_back(
    payouts: Any, engine: Engine, database_url: str, redis_url: str, gateway: Gateway
) -> None:
    """A sweep age below zero is no good news: it says which clock is wrong."""
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO payout_mark VALUES ('sweep', now() + interval '3536 seconds')")
        )
    ran = payouts("doctor", **service(database_url, redis_url, gateway))
    assert ran.code == 1
    assert re.search(r"FAIL sweep: The last sweep is 35[23]\d s in the future", ran.out)
    PayoutStore(engine).claim_due(utcnow(), utcnow(), 1, timedelta(seconds=60))
    assert "FAIL sweep" not in payouts("doctor", **service(database_url, redis_url, gateway)).out
