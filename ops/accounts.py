"""The accounts of this shell, for commands that work without them too."""

from __future__ import annotations

from shared.config.accounts import account_settings, default_settings
from shared.config.settings import Settings, SettingsError
from shared.domain.accounts import account_key


def is_configured(settings: Settings, account: str) -> bool:
    """Whether the account is configured here; no account is if EPAY_ACCOUNTS_FILE is wrong."""
    try:
        every = account_settings(settings)
    except SettingsError:
        return False
    return account_key(account) in {account_key(one.epay_account) for one in every}


def default_key(settings: Settings) -> str | None:
    """The `account_key` of the account of a request that names none; None: there is none."""
    try:
        default = default_settings(settings)
    except SettingsError:
        return None
    return None if default is None else account_key(default.epay_account)
