"""EPAY_ACCOUNTS_FILE: several accounts, and its errors in words."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.config.accounts import (
    account_settings,
    api_keys,
    default_settings,
    gateway_hosts,
    one_settings,
)
from shared.config.builders import build_accounts, build_policy, settings_of
from shared.config.settings import Settings, SettingsError
from shared.messaging.owner import other_owner, owner_of
from tests.support.factories import API_KEY, make_settings
from tests.support.paths import ROOT
from webhook import create_app

TWO = """
[[account]]
account = "shop@example.com"
base_url = "https://api.example/capi/openapi"
api_key = "first"
not_found_codes = ["2001"]

[[account]]
account = "Second@example.com"
base_url = "https://api.example/capi/openapi"
api_key_file = "{key}"
former_hosts = ["old.example"]
cap_per_payout = {{USD = "1000"}}
"""


AT_TWO_HOSTS = """
[[account]]
account = "shop@example.com"
base_url = "https://api.example/capi/openapi"
api_key = "live"
api_key_previous = "before"
former_hosts = ["old.example"]

[[account]]
account = "Shop@example.com"
base_url = "https://test.example/capi/openapi"
api_key = "test"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.toml"


def settings_with(file: Path, text: str, **changes: object) -> Settings:
    key = file.parent / "key"
    key.write_text("second\n")
    file.write_text(text.format(key=key))
    return make_settings(epay_accounts_file=str(file), **changes)


def test_none_outweighs_a_file_in_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo and the sandbox's compose file say so: they must never reach a real account."""
    monkeypatch.setenv("EPAY_ACCOUNTS_FILE", "none")
    assert Settings().epay_accounts_file is None
    sandbox = (ROOT / "compose.sandbox.env").read_text(encoding="utf-8").splitlines()
    assert "EPAY_ACCOUNTS_FILE=none" in sandbox


def test_without_the_file_there_is_the_one_account() -> None:
    settings = make_settings()
    assert account_settings(settings) == (settings,)
    assert default_settings(settings) is one_settings(settings) is settings


def test_each_account_has_settings_of_its_own(file: Path) -> None:
    """What it leaves out is the environment's; its key never is."""
    settings = settings_with(file, TWO, epay_account="", epay_read_timeout=7)
    first, second = account_settings(settings)
    assert first.epay_api_key.get_secret_value() == "first"
    assert second.epay_api_key.get_secret_value() == "second"
    assert (first.epay_read_timeout, second.epay_read_timeout) == (7, 7)
    accounts = build_accounts(settings)
    assert accounts.default is None
    assert [one.gateway for one in accounts.accounts] == ["api.example", "api.example"]
    assert build_policy(first, accounts).not_found_codes == {"2001"}
    assert build_policy(second, accounts).cap_per_payout == {"USD": Decimal(1000)}
    assert settings_of(settings, "SECOND@example.com", "old.example") == second
    assert settings_of(settings, "third@example.com", "api.example") is None
    with pytest.raises(SettingsError, match="name one of them in EPAY_ACCOUNT"):
        one_settings(settings)


def test_the_account_of_the_environment_is_the_default(file: Path) -> None:
    settings = settings_with(file, TWO, epay_account="SECOND@example.com")
    assert one_settings(settings).epay_account == "Second@example.com"
    default = build_accounts(settings).default
    assert default is not None
    assert default.account == "Second@example.com"


def test_a_program_that_needs_an_account_has_it_by_the_file(file: Path) -> None:
    bare = Settings(epay_accounts_file=str(file))
    assert bare.need("epay_account", "epay_api_key", "epay_base_url") is bare


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must hold tables"),
        ("account = 1", "must hold tables"),
        ("account = [1]", "must hold tables"),
        ("[[account]]\napi_key_file = '\\u0000'".replace("'", '"'), "api_key_file cannot be read"),
        ("[[account]]\napi_key = 'k'\nbase_url = 'x.example'", "base_url: "),
        ("[[account]]\napi_key = 'k'\nformer_hosts = ['ftp://x']", "former_hosts: "),
        ("[[account]", "is not TOML"),
        ('[[account]]\naccount = "a@x.com"\nbase_url = "https://x"', "account 1: api_key or"),
        ('[[account]]\nbase_url = "https://x"\napi_key = "k"\naccount = ""', "account is missing"),
        ("[[account]]\napikey = 'k'", "account 1: unknown apikey"),
        ("[[account]]\nfee = 1\napi_key_file = '/none'", "unknown fee"),
        ("[[account]]\napi_key_file = '/no/such/file'", "api_key_file cannot be read"),
        ("[[account]]\napi_key = 'k'\nsign_nested = 'x'", "account 1: sign_nested"),
        (TWO.replace("Second", "SHOP"), "names shop@example.com twice at one gateway"),
        (AT_TWO_HOSTS.replace("old.example", "test.example"), "twice at one gateway"),
        (AT_TWO_HOSTS.replace('"test"', '"live"'), "one key for shop@example.com at two gateways"),
        (AT_TWO_HOSTS.replace('"before"', '"test"'), "one key for shop@example.com"),
        ("[[account]]\naccount = 'sh\u00f6p@example.com'", "account 1: account: .*ASCII"),
        ("[[account]]\napi_key = 'k'\nbase_url = 'https://x:y'", "base_url: "),
    ],
)
def test_an_error_is_said_in_words(file: Path, text: str, words: str) -> None:
    settings = settings_with(file, text)
    with pytest.raises(SettingsError, match=words) as caught:
        account_settings(settings)
    assert API_KEY not in str(caught.value)


@pytest.mark.parametrize(
    "caps",
    ['{usd = "1000"}', '{USD = "-5"}', "{USD = -5}", "{USD = nan}", "{USD = true}", "{US = 5}",
     '{USD = ""}', '{USD = "5", " USD " = "6"}', "{USD = [5]}", "5", '"USD"'],
)  # fmt: skip
@pytest.mark.parametrize("name", ["cap_per_payout", "cap_per_day"])
def test_a_cap_that_would_never_hold_is_refused(file: Path, name: str, caps: str) -> None:
    """As in the environment: a currency in small letters is none, an amount is above zero."""
    escaped = caps.replace("{", "{{").replace("}", "}}")
    settings = settings_with(
        file, TWO.replace('cap_per_payout = {{USD = "1000"}}', f"{name} = {escaped}")
    )
    with pytest.raises(SettingsError, match=f"account 2: {name}: "):
        account_settings(settings)


@pytest.mark.parametrize("amount", ['"900.50"', "900.50", '" 900.5 "'])
def test_a_cap_may_be_a_number_of_toml(file: Path, amount: str) -> None:
    settings = settings_with(file, TWO.replace('"1000"', amount))
    assert account_settings(settings)[1].cap_per_payout == {"USD": Decimal("900.50")}


@pytest.mark.parametrize("codes", ['[""]', '["2001", " 2002"]', "[2001]", '["1"]'])
def test_codes_of_the_file_are_checked_as_in_the_environment(file: Path, codes: str) -> None:
    text = TWO.replace('not_found_codes = ["2001"]', f"not_found_codes = {codes}")
    with pytest.raises(SettingsError, match="account 1: "):
        account_settings(settings_with(file, text))


def test_each_list_of_codes_can_be_an_accounts_own(file: Path) -> None:
    text = TWO.replace('["2001"]', '["2001"]\nrefused_codes = "5"\nduplicate_codes = ["6"]')
    first, second = account_settings(settings_with(file, text))
    assert (first.epay_refused_codes, first.epay_duplicate_codes) == ({"5"}, {"6"})
    assert second.epay_duplicate_codes == frozenset()


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        account_settings(make_settings(epay_accounts_file=str(file)))


def test_an_account_at_two_gateways_has_a_key_for_each(file: Path) -> None:
    first, second = account_settings(settings_with(file, AT_TWO_HOSTS, epay_account=""))
    assert gateway_hosts(first) == ("api.example", "old.example")
    assert gateway_hosts(second) == ("test.example",)
    assert (api_keys(first), api_keys(second)) == ({"live", "before"}, {"test"})


def test_the_owner_of_redis_is_the_default_account(file: Path) -> None:
    """As the file has it, not as the environment; without one all accounts are the owner."""
    settings = settings_with(file, TWO, epay_account="SECOND@example.com", epay_base_url="")
    owner = {"account": "second@example.com", "gateway": "api.example", "database": "d"}
    assert owner_of(settings, "d") == owner
    both = owner_of(settings.model_copy(update={"epay_account": ""}), "")
    assert both["account"] == "second@example.com,shop@example.com"
    assert other_owner(both, dict.fromkeys(both, "")) is None, "an earlier release named none"
    assert other_owner(both, owner) is not None


ONE = TWO[: TWO.rindex("[[account]]")]


@pytest.mark.parametrize("text", [ONE, TWO])
def test_an_account_that_is_not_in_the_file_sends_nothing(file: Path, text: str) -> None:
    """Not from another account either, if the file has only one."""
    settings = settings_with(file, text, epay_account="third@example.com")
    for build in (default_settings, build_accounts, build_policy, owner_of):
        with pytest.raises(SettingsError, match=r"third@example\.com\) is not in"):
            build(settings)  # type: ignore[operator]
    redis_away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    with pytest.raises(SystemExit):
        create_app(redis_away)
    assert default_settings(settings_with(file, ONE, epay_account="Shop@example.com")) is not None
    assert default_settings(settings_with(file, ONE, epay_account="")) is not None


def test_what_cannot_work_is_refused(file: Path) -> None:
    with pytest.raises(SettingsError, match="EPAY_CHECK_LIMITS"):
        account_settings(settings_with(file, TWO, epay_check_limits="on"))
    both = settings_with(file, TWO, epay_api_key_previous=SecretStr("old"))
    assert [one.epay_api_key_previous for one in account_settings(both)] == [None, None]
