"""What a program makes of its settings: the gateway's configuration, the policy, the cipher."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from shared.config.accounts import account_settings, default_settings, gateway_hosts
from shared.config.settings import Settings, SettingsError
from shared.domain.accounts import ConfiguredAccount, ConfiguredAccounts, account_key, gateway_of
from shared.domain.policy import Policy
from shared.epay.config import EpayConfig
from shared.storage.encryption import AccountCipher, CipherError


def build_epay_config(settings: Settings) -> EpayConfig:
    """The configuration of the gateway client.

    Raises:
        SettingsError: a setting of the gateway is missing or unsafe.
    """
    settings.need("epay_base_url", "epay_account", "epay_api_key")
    try:
        return EpayConfig(
            base_url=settings.epay_base_url,
            account=settings.epay_account,
            api_key=settings.epay_api_key,
            previous_api_key=settings.epay_api_key_previous,
            nested=settings.epay_sign_nested,
            notify_url=settings.epay_notify_url,
            success_url_method=settings.epay_success_url_method,
            fail_url_method=settings.epay_fail_url_method,
            connect_timeout=settings.epay_connect_timeout,
            read_timeout=settings.epay_read_timeout,
            total_timeout=settings.total_timeout,
            demand_response_signature=settings.epay_demand_response_signature,
            allow_plain_http=settings.epay_allow_plain_http,
            proxy_url=settings.epay_proxy_url,
            pool_size=settings.worker_concurrency + settings.epay_query_batch,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error


def build_account(settings: Settings) -> ConfiguredAccount:
    """The account of these settings, at the gateway of EPAY_BASE_URL."""
    gateway = gateway_of(settings.epay_base_url) or None
    return ConfiguredAccount(settings.epay_account, gateway, settings.epay_former_hosts)


def build_accounts(settings: Settings) -> ConfiguredAccounts:
    """All configured accounts, and the one of a request that names none.

    Raises:
        SettingsError: EPAY_ACCOUNTS_FILE, or an account, is invalid.
    """
    default = default_settings(settings)
    return ConfiguredAccounts(
        tuple(map(build_account, account_settings(settings))),
        None if default is None else build_account(default),
    )


def settings_of(settings: Settings, epay_account: str, epay_gateway: str | None) -> Settings | None:
    """The settings with which a payout is sent and queried; None: it is not configured here.

    Raises:
        SettingsError: as for `build_accounts`.
    """
    every = {build_account(one): one for one in account_settings(settings)}
    found = ConfiguredAccounts(tuple(every)).find(epay_account, epay_gateway)
    return None if found is None else every[found]


def build_policy(settings: Settings, accounts: ConfiguredAccounts | None = None) -> Policy:
    """The settings that the lifecycle decides by.

    Args:
        settings: of one account, if there are several.
        accounts: all accounts; None: they are read from `settings`.

    Raises:
        SettingsError: as for `build_accounts`.
    """
    return Policy(
        lease=timedelta(seconds=settings.epay_lease_seconds),
        visibility_delay=timedelta(seconds=settings.epay_settle_seconds),
        resend_horizon=timedelta(seconds=settings.epay_resend_horizon_seconds),
        review_after=timedelta(seconds=settings.epay_review_after),
        query_backoff=settings.epay_query_backoff,
        submit_backoff=settings.epay_submit_backoff,
        not_found_codes=settings.epay_not_found_codes,
        refused_codes=settings.epay_refused_codes,
        duplicate_codes=settings.epay_duplicate_codes,
        cap_per_payout=settings.cap_per_payout,
        cap_per_day=settings.cap_per_day,
        accounts=accounts or build_accounts(settings),
    )


def name_policy(settings: Settings) -> dict[str, str]:
    """The settings that decide what a worker or a person may do, by name; none is a secret.

    Raises:
        SettingsError: as for `build_accounts`.
    """
    default = default_settings(settings)
    named = {
        "EPAY_ACCOUNT": "" if default is None else default.epay_account,
        "EPAY_BASE_URL": settings.epay_base_url.rstrip("/"),
        "EPAY_FORMER_HOSTS": ",".join(sorted(settings.epay_former_hosts)),
        "EPAY_NOT_FOUND_CODES": ",".join(sorted(settings.epay_not_found_codes)),
        "EPAY_DUPLICATE_CODES": ",".join(sorted(settings.epay_duplicate_codes)),
        "EPAY_REFUSED_CODES": ",".join(sorted(settings.epay_refused_codes)),
        "EPAY_SETTLE_SECONDS": f"{settings.epay_settle_seconds:g}",
        "EPAY_LEASE_SECONDS": f"{settings.epay_lease_seconds:g}",
        "EPAY_RESEND_HORIZON_SECONDS": f"{settings.epay_resend_horizon_seconds:g}",
        "EPAY_REVIEW_AFTER": f"{settings.epay_review_after:g}",
        "EPAY_QUERY_BACKOFF": ",".join(map(str, settings.epay_query_backoff)),
        "EPAY_SUBMIT_BACKOFF": ",".join(map(str, settings.epay_submit_backoff)),
        "CAP_PER_PAYOUT": _name_amounts(settings.cap_per_payout),
        "CAP_PER_DAY": _name_amounts(settings.cap_per_day),
        "RESOLVE_SECOND_PERSON": str(settings.resolve_second_person).lower(),
    }
    if settings.epay_accounts_file is not None:
        for one in account_settings(settings):
            named |= _name_account(one)
    return named


def _name_account(settings: Settings) -> dict[str, str]:
    """What EPAY_ACCOUNTS_FILE decides for one account, but for its key; the file's path is free."""
    gateway, *former = gateway_hosts(settings)
    values = {
        "base_url": settings.epay_base_url.rstrip("/"),
        "former_hosts": ",".join(sorted(former)),
        "not_found_codes": ",".join(sorted(settings.epay_not_found_codes)),
        "refused_codes": ",".join(sorted(settings.epay_refused_codes)),
        "cap_per_payout": _name_amounts(settings.cap_per_payout),
        "cap_per_day": _name_amounts(settings.cap_per_day),
    }
    of = f"EPAY_ACCOUNTS_FILE, {account_key(settings.epay_account)} at {gateway}:"
    return {f"{of} {name}": value for name, value in values.items()}


def _name_amounts(amounts: Mapping[str, Decimal]) -> str:
    return ",".join(f"{currency}:{amount:.2f}" for currency, amount in sorted(amounts.items()))


def build_cipher(settings: Settings) -> AccountCipher:
    """The cipher for account numbers in the database; without keys it does not encrypt.

    Raises:
        SettingsError: a key in ACCOUNT_ENCRYPTION_KEYS is invalid.
    """
    secret = settings.account_encryption_keys
    keys = secret.get_secret_value().split(",") if secret else []
    try:
        return AccountCipher([key.strip() for key in keys if key.strip()])
    except CipherError as error:
        raise SettingsError(str(error)) from None
