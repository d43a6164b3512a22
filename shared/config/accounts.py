"""EPAY_ACCOUNTS_FILE: several EPAY accounts, each with settings of its own (law 10).

    [[account]]
    account = "shop@example.com"
    base_url = "https://api.epay.com/capi/openapi"
    api_key_file = "/run/secrets/shop_key"

What an account leaves out is as in the environment, but for its key.
"""

from __future__ import annotations

import tomllib
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.config.settings import Settings, SettingsError
from shared.domain.accounts import account_key, gateway_of

_SETTING_OF = {
    "account": "epay_account",
    "base_url": "epay_base_url",
    "api_key": "epay_api_key",
    "api_key_previous": "epay_api_key_previous",
    "former_hosts": "epay_former_hosts",
    "notify_url": "epay_notify_url",
    "sign_nested": "epay_sign_nested",
    "allow_plain_http": "epay_allow_plain_http",
    "not_found_codes": "epay_not_found_codes",
    "refused_codes": "epay_refused_codes",
    "duplicate_codes": "epay_duplicate_codes",
    "cap_per_payout": "cap_per_payout",
    "cap_per_day": "cap_per_day",
}
"""The keys of an account in the file -> the settings that they stand for."""
_KEY_FILES = {"api_key_file": "api_key", "api_key_previous_file": "api_key_previous"}


def account_settings(settings: Settings) -> tuple[Settings, ...]:
    """The settings of each account; without EPAY_ACCOUNTS_FILE those of the only one.

    Raises:
        SettingsError: the file cannot be read, or an account in it is incomplete or invalid.
    """
    if settings.epay_accounts_file is None:
        return (settings,)
    path = Path(settings.epay_accounts_file)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"EPAY_ACCOUNTS_FILE cannot be read: {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"EPAY_ACCOUNTS_FILE {path} is not TOML: {error}") from None
    entries = tables.get("account")
    is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if set(tables) != {"account"} or not entries or not is_list:
        raise SettingsError(f"EPAY_ACCOUNTS_FILE {path} must hold tables [[account]], and no other")
    found = tuple(
        _settings_of(settings, entry, f"EPAY_ACCOUNTS_FILE {path}, account {nth}")
        for nth, entry in enumerate(entries, start=1)
    )
    for one, other in combinations(found, 2):
        if account_key(one.epay_account) == account_key(other.epay_account):
            _refuse_if_alike(one, other, path)
    if len(found) > 1 and settings.epay_check_limits == "on":
        raise SettingsError("EPAY_CHECK_LIMITS=on works with one account only: turn it off")
    return found


def gateway_hosts(settings: Settings) -> tuple[str, ...]:
    """The host of the account's gateway, then those under which it was reached before."""
    return (gateway_of(settings.epay_base_url), *settings.epay_former_hosts)


def api_keys(settings: Settings) -> frozenset[str]:
    """The keys that verify a callback of the account: the current one and the previous one."""
    keys = (settings.epay_api_key, settings.epay_api_key_previous)
    return frozenset(key.get_secret_value() for key in keys if key and key.get_secret_value())


def default_settings(settings: Settings) -> Settings | None:
    """The settings of a request that names no account: EPAY_ACCOUNT's, or the only one's.

    Raises:
        SettingsError: as for `account_settings`; or EPAY_ACCOUNT is not in the file.
    """
    every = account_settings(settings)
    if not settings.epay_account:
        return every[0] if len(every) == 1 else None
    key = account_key(settings.epay_account)
    found = next((one for one in every if account_key(one.epay_account) == key), None)
    if found is None:
        raise SettingsError(f"EPAY_ACCOUNT ({settings.epay_account}) is not in EPAY_ACCOUNTS_FILE")
    return found


def one_settings(settings: Settings) -> Settings:
    """`default_settings`, for a command that works with one account.

    Raises:
        SettingsError: as for `default_settings`; or EPAY_ACCOUNT must say which account.
    """
    found = default_settings(settings)
    if found is None:
        raise SettingsError("several accounts are configured: name one of them in EPAY_ACCOUNT")
    return found


def _refuse_if_alike(one: Settings, other: Settings, path: Path) -> None:
    """One account at two gateways: its payouts and its callbacks must be told apart (law 10)."""
    account = account_key(one.epay_account)
    if not set(gateway_hosts(one)).isdisjoint(gateway_hosts(other)):
        raise SettingsError(f"EPAY_ACCOUNTS_FILE {path} names {account} twice at one gateway")
    if not api_keys(one).isdisjoint(api_keys(other)):
        raise SettingsError(
            f"EPAY_ACCOUNTS_FILE {path} has one key for {account} at two gateways: their callbacks"
            " cannot be told apart. Get another key from EPAY for one of them"
        )


def _settings_of(settings: Settings, entry: dict[str, Any], where: str) -> Settings:
    if unknown := set(entry) - set(_SETTING_OF) - set(_KEY_FILES):
        raise SettingsError(f"{where}: unknown {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {"epay_api_key": "", "epay_api_key_previous": None}
    values["epay_accounts_file"] = None  # these are the settings of one account
    values |= {_SETTING_OF[name]: value for name, value in entry.items() if name in _SETTING_OF}
    for name, key in _KEY_FILES.items():
        if name in entry:
            values[_SETTING_OF[key]] = _read_key(entry[name], f"{where}: {name}")
    try:
        found = Settings(**(settings.model_dump() | values))
    except ValidationError as error:
        names = {setting: name for name, setting in _SETTING_OF.items()}
        found_wrong = error.errors(include_input=False, include_url=False)
        wrong = (
            ": ".join([*(names.get(str(part), str(part)) for part in item["loc"][:1]), item["msg"]])
            for item in found_wrong
        )
        raise SettingsError(f"{where}: {'; '.join(wrong)}") from None
    missing = [name for name in ("account", "base_url") if not getattr(found, _SETTING_OF[name])]
    if not found.epay_api_key.get_secret_value():
        missing.append("api_key or api_key_file")
    if missing:
        raise SettingsError(f"{where}: {', '.join(missing)} is missing")
    return found


def _read_key(path: object, where: str) -> str:
    try:
        return Path(str(path)).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a path with a NUL
        raise SettingsError(f"{where} cannot be read: {type(error).__name__}") from None
