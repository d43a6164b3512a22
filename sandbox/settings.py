"""Every setting of the sandbox, each from a command-line option or an environment variable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, NonNegativeFloat
from pydantic_settings import BaseSettings, SettingsConfigDict

from sandbox.faults import Fault
from shared.epay.signing import NestedForm

PREFIX = "/capi/openapi"
"""The path under which all calls of the gateway live (section 1)."""

SUCCESS_CODE = 1
"""The only response code that EPAY documents (section 7)."""


class Duplicates(StrEnum):
    """What a second create of a merchantOrderNo gets: not documented, so all three are played."""

    REFUSE = "refuse"
    """`duplicate_code`, and no second order."""
    PAY = "pay"
    """The cruel one: a second order under the same number, and a second payment."""
    SAME = "same"
    """The existing order is the answer, with code 1."""


class SandboxConfig(BaseModel):
    """The settings of the sandbox. All times are seconds.

    EPAY documents no code but 1: the codes here are the sandbox's own, not EPAY's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    account: str = "test2020@epay.com"
    """The one merchant account (epayAccount)."""
    api_key: str = "TESTKEY123"
    """The merchant's API key."""
    nested: NestedForm = NestedForm.COMMA
    """How nested objects are signed (section 4.3)."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 0
    """Port to listen on; 0 takes a free one."""

    pay_after: NonNegativeFloat = 0.5
    """From the creation of an order to its end."""
    callback_scale: NonNegativeFloat = 1.0
    """Factor on the retry schedule of callbacks."""
    callback_timeout: NonNegativeFloat = 10.0
    """How long one callback waits for its reply."""
    callback_workers: int = 16
    """How many callbacks are posted at the same time."""
    duplicates: Duplicates = Duplicates.REFUSE
    """What a second create gets."""
    fee: str = "0.10"
    """The fee of every order, in its currency."""
    limits: str = "USD=0:9999999,EUR=0:9999999,GBP=0:9999999,HKD=0:9999999,JPY=0:9999999"
    """`singleMin:singleMax` per currency, both allowed; a currency not listed is refused."""
    balances: str = "EUR=5000000,GBP=5000000,HKD=5000000,JPY=5000000,USD=5000000"
    """Opening balances; payments are taken off, but never refused for want of money."""

    not_found_code: int = 2001
    """Query of an unknown order (the sandbox's own code)."""
    bad_signature_code: int = 2002
    """Wrong signature (own code)."""
    bad_request_code: int = 2003
    """Missing or bad field (own code)."""
    duplicate_code: int = 2004
    """MerchantOrderNo used before (own code)."""
    refused_code: int = 2005
    """The fault `refuse` (own code)."""
    wrong_account_code: int = 2006
    """EpayAccount is not the merchant's (own code)."""
    limit_code: int = 2007
    """Amount outside the limits (own code)."""

    silence_seconds: NonNegativeFloat = 60.0
    """Fault accept_then_silence: how long it holds on."""
    slow_seconds: NonNegativeFloat = 3.0
    """Fault slow: delay of the answer."""
    down_seconds: NonNegativeFloat = 2.0
    """Fault down: how long the gateway is away."""
    hidden_seconds: NonNegativeFloat = 20.0
    """Fault hidden: how long queries find nothing."""
    pending_seconds: NonNegativeFloat = 3.0
    """Faults pending and exception: how long they last."""
    late_callback_seconds: NonNegativeFloat = 60.0
    """Fault late_callback: longest wait for a query that sees the end."""
    contradict_after: NonNegativeFloat = 1.0
    """Fault contradict: from the first callback to the other."""
    duplicate_callbacks: int = 5
    """Fault duplicate_callback: how many at once."""
    wrong_callback_signatures: int = 1
    """Fault wrong_callback_signature: how many callbacks before a right one."""
    request_log_size: int = 200_000
    """How many calls /_requests remembers."""

    def fault_values(self) -> dict[Fault, float]:
        """The values of markers that give none."""
        return {
            Fault.ACCEPT_THEN_SILENCE: self.silence_seconds,
            Fault.SLOW: self.slow_seconds,
            Fault.DOWN: self.down_seconds,
            Fault.HIDDEN: self.hidden_seconds,
            Fault.PENDING: self.pending_seconds,
            Fault.EXCEPTION: self.pending_seconds,
            Fault.LATE_CALLBACK: self.late_callback_seconds,
            Fault.DUPLICATE_CALLBACK: self.duplicate_callbacks,
            Fault.WRONG_CALLBACK_SIGNATURE: self.wrong_callback_signatures,
            Fault.REFUSE: self.refused_code,
        }


class _SandboxSettings(BaseSettings, SandboxConfig):
    """A stand-in EPAY gateway. Each option is also read from SANDBOX_<OPTION>.

    EPAY documents no response code but 1: all other codes are the sandbox's own. A payout's remark
    can order a fault, `sandbox:<fault>` or `sandbox:<fault>:<value>`: docs/trying.md lists them.
    """

    model_config = SettingsConfigDict(
        hide_input_in_errors=True,
        env_prefix="SANDBOX_",
        env_ignore_empty=True,
        cli_prog_name="python -m sandbox",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )


_KNOWN_TO_WORKERS = {
    "account": "EPAY_ACCOUNT",
    "api_key": "EPAY_API_KEY",
    "nested": "EPAY_SIGN_NESTED",
}
"""Read where the variable of the sandbox's own is not set."""


def read_config(arguments: Sequence[str]) -> SandboxConfig:
    """Read command-line options over SANDBOX_ variables over the workers' variables over defaults.

    Raises:
        pydantic.ValidationError: a value is wrong.
        SystemExit: the options cannot be read, or ask for help.
    """
    shared = {
        name: os.environ[variable]
        for name, variable in _KNOWN_TO_WORKERS.items()
        if os.environ.get(variable) and not os.environ.get(f"SANDBOX_{name.upper()}")
    }
    return _SandboxSettings(_cli_parse_args=list(arguments), **shared)  # type: ignore[arg-type]


def parse_amounts(text: str) -> dict[str, tuple[Decimal, ...]]:
    """Read `USD=0:100,EUR=1:50` as (singleMin, singleMax) by currency; also single amounts."""
    pairs = (part.strip().partition("=") for part in text.split(","))
    return {currency: tuple(map(Decimal, amounts.split(":"))) for currency, _, amounts in pairs}
