"""What the programs build from their settings."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.config.builders import build_epay_config, build_policy, name_policy
from shared.config.settings import Settings, SettingsError, load
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.policy import Policy
from tests.support.factories import API_KEY, make_settings


def test_the_policy_is_that_of_the_settings() -> None:
    """Every field of it; the defaults on both sides are the same."""
    assert build_policy(Settings()) == Policy(accounts=ConfiguredAccounts.one(""))
    settings = Settings(
        epay_lease_seconds=90,
        epay_settle_seconds=61,
        epay_resend_horizon_seconds=62,
        epay_review_after=63,
        epay_query_backoff=(1,),
        epay_submit_backoff=(2,),
        epay_not_found_codes=frozenset({"a"}),
        epay_refused_codes=frozenset({"b"}),
        epay_account="shop@epay.com",
        epay_base_url="https://API.epay.com:443/capi/openapi",
        epay_former_hosts=("old.example:8443",),
    )
    assert build_policy(settings) == Policy(
        lease=timedelta(seconds=90),
        visibility_delay=timedelta(seconds=61),
        resend_horizon=timedelta(seconds=62),
        review_after=timedelta(seconds=63),
        query_backoff=(1,),
        submit_backoff=(2,),
        not_found_codes=frozenset({"a"}),
        refused_codes=frozenset({"b"}),
        accounts=ConfiguredAccounts.one("shop@epay.com", "api.epay.com", ("old.example:8443",)),
    )


OTHER_POLICY: dict[str, object] = {
    "epay_account": "other@example.com",
    "epay_base_url": "https://other.example/capi/openapi",
    "epay_former_hosts": ("old.example",),
    "epay_not_found_codes": frozenset({"a"}),
    "epay_duplicate_codes": frozenset({"c"}),
    "epay_refused_codes": frozenset({"b"}),
    "epay_settle_seconds": 61,
    "epay_lease_seconds": 90,
    "epay_resend_horizon_seconds": 62,
    "epay_review_after": 63,
    "epay_query_backoff": (1,),
    "epay_submit_backoff": (2,),
    "cap_per_payout": {"USD": Decimal(1)},
    "cap_per_day": {"USD": Decimal(2)},
    "resolve_second_person": True,
}


@pytest.mark.parametrize("name", OTHER_POLICY)
def test_each_setting_of_the_policy_is_named(name: str) -> None:
    """A person's act is compared by it: a change of one is a difference, and of no other."""
    before = name_policy(make_settings())
    after = name_policy(make_settings(**{name: OTHER_POLICY[name]}))
    assert {key for key in before if before[key] != after[key]} == {name.upper()}
    assert set(before) == {key.upper() for key in OTHER_POLICY}
    assert API_KEY not in str(after)


OF_AN_ACCOUNT = {
    "base_url": '"https://gateway.example/other"',
    "former_hosts": '["old.example"]',
    "not_found_codes": '["2001"]',
    "refused_codes": '["2005"]',
    "cap_per_payout": '{ USD = "1" }',
    "cap_per_day": '{ USD = "2" }',
}


@pytest.mark.parametrize("name", OF_AN_ACCOUNT)
def test_each_setting_of_an_account_in_the_file_is_named(name: str, tmp_path: Path) -> None:
    """Another copy of EPAY_ACCOUNTS_FILE is another policy; its path and its keys are not."""
    account = '[[account]]\naccount = "Shop@example.com"\napi_key = "{}"\n'
    files = {"here": account.format("first"), "there": account.format("second")}
    files["other"] = f"{files['here']}{name} = {OF_AN_ACCOUNT[name]}"
    named = {}
    for folder, text in files.items():
        file = tmp_path / f"{folder}.toml"
        file.write_text(text)
        named[folder] = name_policy(make_settings(epay_accounts_file=str(file)))
    assert named["here"] == named["there"]
    assert "second" not in str(named)
    (other,) = {key for key, value in named["other"].items() if named["here"][key] != value}
    assert other == f"EPAY_ACCOUNTS_FILE, shop@example.com at gateway.example: {name}"


def test_every_field_of_the_policy_is_named() -> None:
    """A new one too: changing all settings changes all fields of the lifecycle's policy."""
    settings = make_settings(**OTHER_POLICY)
    for field in fields(Policy):
        assert getattr(build_policy(settings), field.name) != getattr(Policy(), field.name), field


def test_equal_settings_have_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are written: order of codes, decimal places, a slash at the end."""
    spellings = [
        {"EPAY_NOT_FOUND_CODES": "3,2", "CAP_PER_DAY": "USD:5,EUR:6", "EPAY_SETTLE_SECONDS": "600"},
        {"EPAY_NOT_FOUND_CODES": "2, 3", "CAP_PER_DAY": "EUR:6.00,USD:5.0", "EPAY_BASE_URL": ""},
    ]
    named = []
    for spelling in spellings:
        with monkeypatch.context() as patch:
            for key, value in spelling.items():
                patch.setenv(key, value)
            named.append(name_policy(load()))
    assert named[0] == named[1]


def test_the_client_gets_its_part() -> None:
    """Address, keys, timeouts, and a connection for everybody who may ask at once."""
    settings = make_settings(
        epay_api_key_previous=SecretStr("old"),
        epay_notify_url="https://us/cb",
        epay_success_url_method="GET",
        epay_fail_url_method="POST",
        epay_demand_response_signature=True,
        epay_sign_nested="json",
        worker_concurrency=3,
        epay_query_batch=4,
        epay_proxy_url="http://u:p@proxy:3128",
    )
    config = build_epay_config(settings)
    assert (config.base_url, config.account) == (
        "https://gateway.example/capi/openapi",
        "shop@example.com",
    )
    assert config.api_keys == (API_KEY, "old")
    assert (config.notify_url, config.nested) == ("https://us/cb", "json")
    assert (config.success_url_method, config.fail_url_method) == ("GET", "POST")
    assert (config.connect_timeout, config.read_timeout, config.total_timeout) == (3, 20, 25)
    assert config.demand_response_signature
    assert not config.allow_plain_http
    assert config.pool_size == 7
    assert config.proxy_url == "http://u:p@proxy:3128"


@pytest.mark.parametrize("url", ["http://x/capi/openapi", "https://u:p@x/"])
def test_an_unsafe_gateway_is_refused(url: str) -> None:
    """As a setting that is wrong, without the key."""
    with pytest.raises(SettingsError, match="EPAY_BASE_URL") as caught:
        build_epay_config(make_settings(epay_base_url=url))
    assert API_KEY not in str(caught.value)


def test_the_client_without_its_settings() -> None:
    """What is missing is named before anything is tried."""
    with pytest.raises(SettingsError, match="EPAY_API_KEY"):
        build_epay_config(make_settings(epay_api_key=SecretStr("")))
