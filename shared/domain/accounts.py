"""The account and gateway of a payout, and whether they are configured here (law 10). Pure.

An account that is not configured here is never sent to, asked about or judged: see
`shared.domain.holds.hold_if_not_configured`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def account_key(account: str) -> str:
    """The account as it is compared: another spelling is the same account."""
    return account.strip().casefold()


def gateway_of(base_url: str) -> str:
    """The gateway of a base URL: its host, with its port if that is not the scheme's own.

    Raises:
        ValueError: the URL has a port that is no number.
    """
    url = urlsplit(base_url.strip())
    host = (url.hostname or "").rstrip(".")
    return host if url.port in {None, _DEFAULT_PORTS.get(url.scheme)} else f"{host}:{url.port}"


@dataclass(frozen=True, slots=True)
class ConfiguredAccount:
    """An account at a gateway for which this process has the credentials."""

    account: str
    """As it was typed: EPAY gets it so."""
    gateway: str | None = None
    """See `gateway_of`; None: a program that sends nothing may not know it."""
    former_gateways: tuple[str, ...] = ()
    """Hosts under which this same gateway was reached before."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of its gateway, then the former ones; empty if it is not known."""
        return () if self.gateway is None else (self.gateway, *self.former_gateways)

    def has(self, epay_gateway: str) -> bool:
        """Whether payouts of that gateway are this one's."""
        return self.gateway is None or epay_gateway in self.hosts


@dataclass(frozen=True, slots=True)
class ConfiguredAccounts:
    """All accounts that this process can use."""

    accounts: tuple[ConfiguredAccount, ...]
    default: ConfiguredAccount | None = None
    """The account of a request that names none; None: each request must name one."""

    @classmethod
    def one(cls, account: str, gateway: str | None = None, former: tuple[str, ...] = ()) -> Self:
        """A single account, which is the default."""
        only = ConfiguredAccount(account, gateway, former)
        return cls((only,), only)

    @property
    def first(self) -> ConfiguredAccount:
        """The default account; without one, the first."""
        return self.default or self.accounts[0]

    @property
    def other_gateways(self) -> dict[str, str]:
        """Each host of a gateway other than `first`'s -> that gateway."""
        others = [one for one in self.accounts if one.gateway and not self.first.has(one.gateway)]
        return {host: one.gateway or "" for one in others for host in one.hosts}

    def named(self, account: str | None) -> ConfiguredAccount | None:
        """The account of a request; None: it is not configured, or at several gateways."""
        if account is None:
            return self.default
        found = self._spelled(account)
        return self.default if self.default in found else found[0] if len(found) == 1 else None

    def find(self, epay_account: str, epay_gateway: str | None) -> ConfiguredAccount | None:
        """The configured account of a payout, or None.

        A payout without a gateway (accepted before gateways were recorded) belongs to its account
        if that is configured at one gateway only.
        """
        found = self._spelled(epay_account)
        if epay_gateway is None:
            return found[0] if len(found) == 1 else None
        return next((one for one in found if one.has(epay_gateway)), None)

    def missing(self, epay_account: str, epay_gateway: str | None) -> str | None:
        """Why the account cannot be used here; None: it is configured."""
        if self.find(epay_account, epay_gateway) is not None:
            return None
        at = f" at {epay_gateway}" if epay_gateway else ""
        return f"the account {epay_account}{at} is not configured here"

    def _spelled(self, account: str) -> list[ConfiguredAccount]:
        key = account_key(account)
        return [one for one in self.accounts if account_key(one.account) == key]
