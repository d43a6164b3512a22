"""Every setting of every process: one class, read from the environment and `.env`."""

from __future__ import annotations

import os
import re
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.config.types import Amounts, Codes, Hosts, Names, Networks, Positive, Seconds
from shared.config.urls import fault_of_http_url, fault_of_postgresql_url, fault_of_redis_url
from shared.domain.backoff import DEFAULT_QUERY_BACKOFF, DEFAULT_SUBMIT_BACKOFF
from shared.epay.callbacks import DEFAULT_EXCLUDED
from shared.epay.config import fault_around
from shared.epay.signing import NestedForm

ACTED_ON = frozenset(
    {
        "epayAccount",
        "merchantOrderNo",
        "epayOrderNo",
        "status",
        "amount",
        "settlementCurrency",
        "paymentCurrency",
        "fee",
    }
)
"""Fields of a callback that change a payout; its signature must cover them."""


class SettingsError(Exception):
    """A setting is missing or invalid; the text names it and says what it must be."""


class Settings(BaseSettings):
    """The settings, named in the environment as here but in capitals. Times are in seconds."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    database_url: str = Field(default="", repr=False)
    """postgresql://user:password@host:port/name"""
    redis_url: str = Field(default="", repr=False)
    """redis://host:port/db: the broker. Share it with no other application."""

    epay_base_url: str = ""
    """Ends in /capi/openapi (docs/epay-gateway.md section 1)."""
    epay_account: str = ""
    """The account; with EPAY_ACCOUNTS_FILE that of a request that names none, or empty."""
    epay_accounts_file: str | None = None
    """A TOML file of accounts, in place of EPAY_BASE_URL and EPAY_API_KEY: see `accounts.py`.

    `none` outweighs one in .env.
    """
    epay_former_hosts: Hosts = ()
    """Hosts (host or host:port) under which the gateway of EPAY_BASE_URL was reached before."""
    epay_api_key: SecretStr = SecretStr("")
    epay_api_key_previous: SecretStr | None = None
    """During a change of key: EPAY's signatures with it are still accepted."""
    epay_notify_url: str | None = None
    """The public address of our POST /epay/callback, where EPAY sends callbacks."""
    epay_success_url_method: Literal["GET", "POST"] | None = None
    epay_fail_url_method: Literal["GET", "POST"] | None = None
    epay_sign_nested: NestedForm = NestedForm.COMMA
    epay_demand_response_signature: bool = False
    epay_allow_plain_http: bool = False
    """Allow http:// to a host other than loopback: for EPAY's test host, never in production."""
    epay_connect_timeout: Positive = 3
    epay_read_timeout: Positive = 20
    epay_total_timeout: Positive | None = None
    """The deadline of a whole request to EPAY; see `total_timeout` for the default."""
    epay_proxy_url: str | None = Field(default=None, repr=False)
    """http://[user:password@]host:port of the proxy for all requests to EPAY."""

    epay_not_found_codes: Codes = frozenset()
    """EPAY's codes that mean "no such order" (law 3). None is documented: agree them with EPAY."""
    epay_refused_codes: Codes = frozenset()
    """EPAY's codes that are definite refusals of a create (law 4). None is documented."""
    epay_duplicate_codes: Codes = frozenset()
    """EPAY's codes that mean "this merchantOrderNo exists": EPAY has it, and is asked (law 4)."""
    epay_settle_seconds: Positive = 600
    epay_query_backoff: Seconds = DEFAULT_QUERY_BACKOFF
    epay_submit_backoff: Seconds = DEFAULT_SUBMIT_BACKOFF
    """Delays before a payout that was provably not sent is tried again."""
    epay_lease_seconds: Positive = 60
    epay_resend_horizon_seconds: Positive = 86_400
    epay_review_after: Positive = 259_200
    epay_check_limits: Literal["off", "on"] = "off"
    """Whether an amount is checked against getLimit (section 3.3) before the first send."""
    epay_limit_category: Annotated[str, StringConstraints(pattern=r"^[A-Z_]{1,32}$")] = "BANK"
    """The category for getLimit: EPAY documents BANK and CASH, and none for e-wallets."""
    epay_limit_cache_seconds: Positive = 300
    """How long each worker process uses one answer of getLimit."""
    epay_max_per_second: Annotated[float, Field(ge=0.001, le=1_000_000)] | None = None
    """The rate limit of requests to EPAY, over all processes; None: no limit."""
    epay_query_batch: Annotated[int, Field(ge=1, le=500)] = 32
    """Payouts in one `payouts.query` message, and concurrent queries of one process."""

    allow_alike: Literal["off", "on"] = "off"
    """Whether an order number may differ from an earlier one only by case, leading zeros or .0."""
    cap_per_payout: Amounts = Field(default_factory=dict)
    """A payout above it is held until a person releases it. `USD:1000,EUR:900`"""
    cap_per_day: Amounts = Field(default_factory=dict)
    """The same for the sum sent in one currency in the last 24 hours."""
    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """Creates of one process in a row without an answer until the circuit breaker opens."""
    breaker_pause_seconds: Positive = 5
    """From opening to the first probe; each failed probe doubles it."""
    breaker_longest_pause_seconds: Positive = 60
    resolve_second_person: bool = False
    """Whether an action on a payout whose outcome is unknown needs a second person's approval."""
    books: Literal["off", "on"] = "on"
    """Whether each day's payouts are reconciled with EPAY."""
    books_after_seconds: Positive = 21_600
    """How long after the end of a day (UTC) its payouts are reconciled."""
    books_sample: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Reconcile at most so many payouts of a day, spread over it; None: all."""

    epay_callback_excluded: Names = DEFAULT_EXCLUDED
    """Fields of a callback that its signature does not cover (section 5); `none` for none."""
    epay_callback_parse_message: bool = True
    """Whether a JSON `message` of a callback is signed as a nested value (section 5)."""
    callback_hints_per_minute: Annotated[int, Field(ge=0, le=10_000)] = 30
    """Unverified callbacks that may bring a query forward, over all webhooks."""
    callback_rate_limit: Annotated[
        str, StringConstraints(pattern=r"^[1-9][0-9]{0,6}/(second|minute|hour)$")
    ] = "300/second"
    """Invalid callbacks from one address until 429, over all webhooks. Signed ones always pass."""
    callback_allowed_networks: Networks = ()
    """Networks from which callbacks are accepted; empty: all."""
    trusted_proxies: Networks = ()
    """Networks of the proxies in front of the webhook; their X-Forwarded-For is trusted."""

    broker_visibility_timeout: Annotated[int, Field(ge=1, le=31_536_000)] = 120
    broker_atomic_fetch: Literal["off", "on"] = "on"
    """Whether workers fetch messages by `worker.broker` ("on") or by kombu's own transport."""
    sweep_seconds: Positive = 5
    sweep_batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    notify_seconds: Positive = 1
    celery_result_backend: str | None = Field(default=None, repr=False)
    """Off by default. Set it to read the result of `payouts.request`."""
    worker_concurrency: Annotated[int, Field(ge=1)] = 32
    db_pool_size: Annotated[int, Field(ge=1)] = 10
    """Connections to PostgreSQL of one worker process."""
    db_group_commit: Literal["off", "on"] = "on"
    """Whether threads of a worker that write at the same moment share a commit."""
    db_patience_seconds: Positive = 20
    """How long a task retries while PostgreSQL is unavailable before its message is requeued."""
    log_format: Literal["console", "json"] = "console"
    account_encryption_keys: SecretStr | None = None
    """Keys that encrypt account numbers at rest, comma list, the current one first."""

    @field_validator("*")
    @classmethod
    def _is_bare(cls, value: object) -> object:
        """Every text and every secret: the service must not start with one that cannot be right."""
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and (fault := fault_around(text)):
            raise ValueError(fault)
        return value

    @field_validator("epay_callback_excluded")
    @classmethod
    def _acted_on_is_signed(cls, value: frozenset[str]) -> frozenset[str]:
        if unsafe := value & ACTED_ON:
            raise ValueError(f"the signature must cover {', '.join(sorted(unsafe))}: we act on it")
        return value

    @field_validator("epay_account")
    @classmethod
    def _is_account(cls, value: str) -> str:
        """As in a request, so that Python and PostgreSQL compare its spellings alike."""
        if not re.fullmatch(r"[\x21-\x7e]{0,128}", value):
            raise ValueError("must be at most 128 ASCII characters, without spaces")
        return value

    @field_validator("epay_accounts_file")
    @classmethod
    def _none_is_no_file(cls, value: str | None) -> str | None:
        return None if value == "none" else value

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: str) -> str:
        if value and (fault := fault_of_postgresql_url(value)):
            raise ValueError(fault)
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if value and (fault := fault_of_redis_url(value)):
            raise ValueError(fault)
        return value

    @field_validator("epay_base_url", "epay_notify_url")
    @classmethod
    def _is_callable(cls, value: str | None) -> str | None:
        if value and (fault := fault_of_http_url(value)):
            raise ValueError(fault)
        return value

    @field_validator("celery_result_backend")
    @classmethod
    def _is_backend(cls, value: str | None) -> str | None:
        if not value:
            return value
        if value.startswith("redis") and (fault := fault_of_redis_url(value)):
            raise ValueError(fault)
        if value.startswith("rediss://") and "ssl_cert_reqs=" not in value:
            raise ValueError("needs ?ssl_cert_reqs=required after rediss://: Celery asks for it")
        from celery.app.backends import by_url  # noqa: PLC0415 - `payouts` need not wait for it

        try:
            by_url(value)
        except Exception:  # noqa: BLE001 - an unknown name is imported, which can raise anything
            msg = "is not a result backend of Celery, for example redis://localhost:6379/1"
            raise ValueError(msg) from None
        return value

    @model_validator(mode="after")
    def _codes_mean_one_thing(self) -> Self:
        lists = {
            name.upper(): getattr(self, name)
            for name in ("epay_not_found_codes", "epay_refused_codes", "epay_duplicate_codes")
        }
        for (one, codes), (other, others) in combinations(lists.items(), 2):
            if both := codes & others:
                raise ValueError(f"{one} and {other} both name {', '.join(sorted(both))}")
        for name, codes in lists.items():
            if "1" in codes:
                raise ValueError(f"{name} names code 1, which is EPAY's success")
        return self

    @model_validator(mode="after")
    def _lease_outlives_request(self) -> Self:
        if self.epay_lease_seconds <= self.total_timeout:
            raise ValueError(
                f"EPAY_LEASE_SECONDS ({self.epay_lease_seconds:g}) must be above EPAY_TOTAL_TIMEOUT"
                f" ({self.total_timeout:g}): a lease that ends while the request is on the wire"
                " is no lease"
            )
        return self

    @property
    def total_timeout(self) -> float:
        """The deadline of a request in seconds; by default well within the lease."""
        if self.epay_total_timeout is not None:
            return self.epay_total_timeout
        slowest = self.epay_connect_timeout + self.epay_read_timeout + 2
        return min(slowest, self.epay_lease_seconds * 0.75)

    @property
    def longest_task(self) -> float:
        """The longest a task runs, in seconds, while no service is down."""
        return max(self.total_timeout, self.epay_lease_seconds)

    @property
    def database_wait(self) -> float:
        """Seconds that a task waits for PostgreSQL, within the broker's visibility timeout."""
        spare = max(1.0, (self.broker_visibility_timeout - self.longest_task) / 2)
        return min(self.db_patience_seconds, spare)

    def need(self, *names: str) -> Self:
        """Check that the named settings are set; returns itself.

        Raises:
            SettingsError: one line for each missing setting.
        """
        in_file = _OF_AN_ACCOUNT if self.epay_accounts_file else set()
        missing = [n for n in names if n not in in_file and not _is_set(getattr(self, n))]
        if missing:
            lines = "\n".join(f"  {name.upper()}: {_EXAMPLES[name]}" for name in missing)
            raise SettingsError(f"not set in the environment or .env:\n{lines}")
        return self


_OF_AN_ACCOUNT = {"epay_base_url", "epay_account", "epay_api_key"}
"""What EPAY_ACCOUNTS_FILE names for each account instead."""
_EXAMPLES = {
    "database_url": "where PostgreSQL is, for example postgresql://payouts:secret@localhost/payouts",
    "redis_url": "where the broker is, for example redis://localhost:6379/0",
    "epay_base_url": "the gateway, for example https://api.epay.com/capi/openapi",
    "epay_account": "your EPAY merchant account",
    "epay_api_key": "the API key of that account",
}


def _is_set(value: object) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _secrets_folder() -> Path | None:
    named = os.environ.get("SECRETS_DIR")
    if not named:
        return None
    folder = Path(named)
    if not folder.is_dir():
        raise SettingsError(f"SECRETS_DIR names no folder: {folder}")
    return folder


def load() -> Settings:
    """Read the settings: environment, then `.env`, then files named like the settings.

    Those files are in the folder SECRETS_DIR, for example /run/secrets.

    Raises:
        SettingsError: a value is invalid; one line for each, without the value, which may be a
            secret.
    """
    try:
        return Settings(_secrets_dir=_secrets_folder())
    except ValidationError as error:
        lines = "\n".join(
            f"  {'.'.join(str(part) for part in item['loc']).upper() or 'settings'}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"wrong settings:\n{lines}") from None
