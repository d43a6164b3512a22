"""`payouts pause`, `resume`, `controls`, `balance`, `limits`: what they do and refuse."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from sandbox.server import Gateway
from sandbox.settings import SandboxConfig
from shared.domain import circuit_breaker
from shared.domain.circuit_breaker import BreakerRules
from shared.storage import pauses
from shared.storage.engine import make_engine

WHO = ("--name", "Ann", "--reason", "audit of [bold]May[/bold]")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker has to notice."""
    monkeypatch.setattr("ops.commands.pause.time.sleep", lambda _seconds: None)


@pytest.fixture
def env(database_url: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "EPAY_ACCOUNT": "a@example.com"}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, pool_size=1)
    yield engine
    engine.dispose()


@pytest.fixture
def epay() -> Iterator[dict[str, str]]:
    config = SandboxConfig(limits="USD=10:500", balances="USD=12.50,EUR=0")
    with Gateway(config) as gateway:
        yield {
            "EPAY_BASE_URL": gateway.base_url,
            "EPAY_ACCOUNT": config.account,
            "EPAY_API_KEY": config.api_key,
        }


@pytest.mark.usefixtures("at_once")
def test_pause_and_resume_leave_a_record(payouts: Any, env: dict[str, str]) -> None:
    """The words are what was typed; JSON has it all."""
    ran = payouts("pause", "--currency", "USD", "--channel", "11", *WHO, **env)
    assert ran.code == 0
    assert "Paused: channel 11, currency USD. It holds 0 queued payouts" in ran.out
    shown = payouts("controls", **env)
    assert "audit of [bold]May[/bold]" in shown.out
    assert "lifted" not in shown.out
    assert "\x1b" not in shown.out
    again = payouts("pause", "--currency", "USD", "--channel", "11", *WHO, **env)
    assert again.code == 2
    assert "channel 11, currency USD, paused by Ann at" in again.err
    assert "Nothing was changed" in again.err
    wrong = payouts("resume", "--currency", "USD", "--name", "Bob", "--reason", "done", **env)
    assert wrong.code == 2
    assert "no pause of currency USD is in force" in wrong.err
    assert "channel 11, currency USD, paused by Ann" in wrong.err
    payouts("pause", *WHO, **env)
    ended = payouts(
        "resume", "--channel", "11", "--currency", "USD", "--name", "Bob", "--reason", "done", **env
    )
    assert ended.code == 0
    assert "Still in force: all payouts, paused by Ann" in ended.out
    assert "UTC by Bob: done" in payouts("controls", "--history", **env).out
    state = json.loads(payouts("controls", "--json", "--history", **env).out)
    everything, one = state["pauses"]
    assert everything["lifted_at"] is None
    assert (one["channel_code"], one["currency"], one["epay_account"]) == ("11", "USD", None)
    assert (one["set_by"], one["lifted_by"], one["lifted_reason"]) == ("Ann", "Bob", "done")
    assert len(json.loads(payouts("controls", "--json", **env).out)["pauses"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--currency", "usd"), "--currency must be capital letters, for example USD"),
        (("--channel", "1 1"), "--channel must be EPAY's code"),
        (("--account", ""), "--account must be an EPAY account"),
        (("--name", " "), "--name must be 1 to 100 printable characters"),
        (("--reason", "a\x1bbell"), "--reason must be 1 to 1000 printable characters"),
    ],
)
def test_what_is_no_pause_is_refused(
    payouts: Any, env: dict[str, str], engine: Engine, arguments: tuple[str, ...], words: str
) -> None:
    """A pause that would hold nothing, or that nobody answers for."""
    given = dict(zip(WHO[::2], WHO[1::2], strict=True)) | {arguments[0]: arguments[1]}
    ran = payouts("pause", *(part for item in given.items() for part in item), **env)
    assert ran.code == 2
    assert words in ran.err
    assert pauses.history(engine) == []


def test_a_name_and_a_reason_are_demanded(payouts: Any, env: dict[str, str]) -> None:
    for name in ("pause", "resume"):
        assert "--reason" in payouts(name, "--name", "Ann", **env).err
        assert "--name" in payouts(name, "--reason", "audit", **env).err


def test_nothing_is_paused(payouts: Any, env: dict[str, str]) -> None:
    ran = payouts("resume", *WHO, **env)
    assert (ran.code, ran.err) == (2, "payouts: nothing is paused\n")


def test_an_account_that_is_not_ours_is_mentioned(payouts: Any, env: dict[str, str]) -> None:
    assert (
        "Check --account: b@example.com is not configured here"
        in payouts("pause", "--account", "b@example.com", *WHO, **env).err
    )


def test_controls_show_settings_and_breaker(payouts: Any, env: dict[str, str]) -> None:
    """Open, closed, or not to be known."""
    closed = json.loads(payouts("controls", "--json", **env).out)
    assert closed["breaker"] == {"state": "closed"}
    assert closed["max_per_second"] is None
    opening = circuit_breaker.open_breaker(time.time(), "5 creates in a row", BreakerRules())
    with redis.Redis.from_url(env["REDIS_URL"]) as client:
        client.set(circuit_breaker.KEY, circuit_breaker.serialize(opening))
    caps = {"EPAY_MAX_PER_SECOND": "50", "CAP_PER_PAYOUT": "USD:1000.50"}
    told = payouts("controls", **env, **caps).out
    assert "5 creates in a row; 0 probes" in told
    assert "50 requests a second" in told
    assert "1000.50 USD" in told
    state = json.loads(payouts("controls", "--json", **env, **caps).out)
    assert state["breaker"]["pause_seconds"] == 5
    assert state["cap_per_payout"] == {"USD": "1000.50"}
    away = payouts("controls", "--json", **(env | {"REDIS_URL": "redis://127.0.0.1:1/0"}))
    assert "does not answer" in json.loads(away.out)["breaker"]["state"]


def test_controls_show_the_breaker_of_each_gateway(
    payouts: Any, env: dict[str, str], tmp_path: Path
) -> None:
    account = '[[account]]\naccount = "{0}@example.com"\napi_key = "{0}"\nbase_url = "https://{0}"'
    file = tmp_path / "accounts.toml"
    file.write_text("\n".join(map(account.format, ("b", "a"))))
    opening = circuit_breaker.open_breaker(time.time(), "3 creates in a row", BreakerRules())
    with redis.Redis.from_url(env["REDIS_URL"]) as client:
        client.set(circuit_breaker.breaker_key("b"), circuit_breaker.serialize(opening))
    both = env | {"EPAY_ACCOUNTS_FILE": str(file)}
    told = json.loads(payouts("controls", "--json", **both).out)
    assert told["breaker"] == {"state": "closed"}
    assert told["breakers_of_other_gateways"]["b"]["why"] == "3 creates in a row"
    assert "b: open since" in payouts("controls", **both).out


def test_a_database_without_tables_is_told(
    payouts: Any, env: dict[str, str], engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE payout_brake"))
    for command in (("brakes",), ("pause", *WHO), ("resume", *WHO)):
        ran = payouts(*command, **env)
        assert ran.code == 2
        assert "payouts migrate" in ran.err


def test_balance(payouts: Any, epay: dict[str, str]) -> None:
    assert json.loads(payouts("balance", "--json", **epay).out) == [
        {"currency": "USD", "balance": "12.50"},
        {"currency": "EUR", "balance": "0.00"},
    ]
    assert "12.50" in payouts("balance", "--currency", "USD", **epay).out


def test_limits(payouts: Any, epay: dict[str, str]) -> None:
    told = payouts("limits", "--currency", "USD", "--channel", "11", **epay).out
    assert "One payout over channel 11: 10 to 500 USD (category BANK)." in told
    asked = ("limits", "--currency", "USD", "--channel", "11", "--json")
    assert json.loads(payouts(*asked, **epay, EPAY_LIMIT_CATEGORY="CASH").out) == {
        "currency": "USD",
        "channel_code": "11",
        "category": "CASH",
        "min": "10",
        "max": "500",
    }


def test_what_epay_does_not_tell(payouts: Any, epay: dict[str, str]) -> None:
    refused = payouts("limits", "--currency", "GBP", "--channel", "11", **epay)
    assert refused.code == 2
    assert "EPAY refused with code" in refused.err
    away = payouts("balance", **(epay | {"EPAY_BASE_URL": "http://127.0.0.1:1/capi/openapi"}))
    assert away.code == 2
    assert "connection refused; try again" in away.err


def test_a_wrong_accounts_file_keeps_nobody_from_pausing(payouts: Any, env: dict[str, str]) -> None:
    """And from seeing what is paused; doctor names the file."""
    wrong = env | {"EPAY_ACCOUNTS_FILE": "/no/such/accounts.toml"}
    ran = payouts("pause", *WHO, "--account", "a@example.com", **wrong)
    assert (ran.code, "Paused: account a@example.com" in ran.out) == (0, True)
    assert "a@example.com is not configured here" in ran.err
    ran = payouts("controls", **wrong)
    assert (ran.code, "paused: account a@example.com" in ran.out) == (0, True)
    assert "EPAY_ACCOUNTS_FILE cannot be read" in " ".join(ran.err.split())
    ran = payouts("doctor", **wrong)
    assert ran.code == 1
    assert "FAIL settings: EPAY_ACCOUNTS_FILE cannot be read" in ran.out
