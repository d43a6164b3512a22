"""What a configuration refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from shared.epay.config import EpayConfig


def config(**changes: Any) -> EpayConfig:
    """A configuration that is right but for the changes."""
    settings: dict[str, Any] = {
        "base_url": "https://api.example.com/capi/openapi",
        "account": "a@example.com",
        "api_key": SecretStr("hush"),
        **changes,
    }
    return EpayConfig(**settings)


@pytest.mark.parametrize("name", ["account", "api_key", "previous_api_key"])
@pytest.mark.parametrize("around", ["{}\n", " {}", "{}\r\n", '"{}"', "'{}'", "\ufeff{}", "a\n{}"])
def test_a_key_or_account_with_something_around_it_is_refused(name: str, around: str) -> None:
    """Wherever it comes from; the value is in no text."""
    text = around.format("hush-7")
    with pytest.raises(ValueError, match=name.removesuffix("_api_key").split("_")[-1]) as caught:
        config(**{name: text if name == "account" else SecretStr(text)})
    assert "hush-7" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/capi/openapi",
        "http://127.9.9.9/capi/openapi",
        "http://localhost:8000/capi/openapi",
        "http://[::1]:8000/capi/openapi",
        "https://api.example.com/capi/openapi",
    ],
)
def test_https_and_loopback_are_accepted(url: str) -> None:
    """A request to this very machine crosses no wire."""
    assert config(base_url=url + "/").base_url == url


@pytest.mark.parametrize(
    "url", ["http://api.example.com/x", "http://10.0.0.1/x", "http://localhost.example.com/x"]
)
def test_plain_http_to_another_machine_needs_a_word(url: str) -> None:
    """The error says what to set."""
    with pytest.raises(ValueError, match="EPAY_ALLOW_PLAIN_HTTP=true"):
        config(base_url=url)
    assert config(base_url=url, allow_plain_http=True).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "ftp://api.example.com",
        "https://",
        "https://u:p@example.com/x",
        "https://example.com/x?y=1",
        "https://example.com/x#y",
        "https://example.com:99999/x",
        "https://.example.com/x",
    ],
)
def test_what_is_no_base_url_is_refused(url: str) -> None:
    """No host, another scheme, or parts that do not belong."""
    with pytest.raises(ValueError, match="EPAY_BASE_URL"):
        config(base_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "proxy.example.com:3128",
        "https://proxy.example.com",
        "socks5://proxy.example.com",
        "http://",
        "http://proxy.example.com:port",
        "http://proxy.example.com/path",
    ],
)
def test_invalid_proxy_url_is_refused(url: str) -> None:
    """At the start, without repeating a password that it may contain."""
    with pytest.raises(ValueError, match="EPAY_PROXY_URL") as caught:
        config(proxy_url=url)
    assert "proxy.example.com" not in str(caught.value)


def test_proxy_password_is_not_shown() -> None:
    """Not in repr and not in str."""
    shown = config(proxy_url="http://user:secret@proxy.example.com:3128/")
    assert "secret" not in f"{shown!r} {shown}"


def test_plain_http_by_way_of_a_proxy_leaves_this_machine() -> None:
    """Also when the gateway's name is that of this machine."""
    with pytest.raises(ValueError, match="EPAY_ALLOW_PLAIN_HTTP=true"):
        config(base_url="http://localhost/x", proxy_url="http://proxy.example.com:3128")


@pytest.mark.parametrize(
    "changes",
    [
        {"account": ""},
        {"api_key": SecretStr("")},
        {"connect_timeout": 0},
        {"read_timeout": -1},
        {"total_timeout": float("inf")},
        {"total_timeout": float("nan")},
        {"pool_size": 0},
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    """At the start, not at the first payout."""
    with pytest.raises(ValueError, match=r"EPAY_|timeout|pool_size"):
        config(**changes)


def test_keys_are_the_current_then_the_previous_and_never_empty() -> None:
    """An empty previous key is none."""
    assert config().api_keys == ("hush",)
    assert config(previous_api_key=SecretStr("old")).api_keys == ("hush", "old")
    assert config(previous_api_key=SecretStr("")).api_keys == ("hush",)


def test_keys_are_not_shown() -> None:
    """Not in repr and not in str."""
    shown = config(previous_api_key=SecretStr("older"))
    assert "hush" not in f"{shown!r} {shown}"
    assert "older" not in f"{shown!r} {shown}"
