"""What the EPAY client must know, checked when it is made."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.epay.signing import NestedForm

_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True)
class EpayConfig:
    """Address, account, keys and deadlines of one gateway account. Timeouts are in seconds.

    Raises ValueError for what cannot work, and for plain http to another machine: the answers
    decide about money, so whoever can change them on the way can have a payout paid twice.
    """

    base_url: str
    """Ends in /capi/openapi (epay-gateway section 1)."""
    account: str
    api_key: SecretStr = field(repr=False)
    previous_api_key: SecretStr | None = field(default=None, repr=False)
    """Still accepted on answers and callbacks during a change of key; never signs."""
    nested: NestedForm = NestedForm.COMMA
    notify_url: str | None = None
    success_url_method: str | None = None
    """Sent as successUrlMethod only when set; not documented for payouts (section 5)."""
    fail_url_method: str | None = None
    connect_timeout: float = 3.0
    """For name lookup and TCP together, all addresses; then for each step of the TLS handshake."""
    read_timeout: float = 20.0
    """Longest silence while waiting for the answer."""
    total_timeout: float = 25.0
    """From the call to the last byte of the answer, whatever trickles in meanwhile."""
    demand_response_signature: bool = False
    """Whether an unsigned answer counts as none; samples show an empty sign (section 4.4)."""
    allow_plain_http: bool = False
    pool_size: int = 32
    """Idle connections kept open; threads beyond it may call, at the price of a connection each."""
    ca_bundle: str | None = None
    """File of the authorities to trust instead of the usual ones."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        self._check_url()
        if not self.account:
            raise ValueError("the EPAY account is empty; set EPAY_ACCOUNT")
        if not self.api_key.get_secret_value():
            raise ValueError("the EPAY API key is empty; set EPAY_API_KEY")
        for name in ("connect_timeout", "read_timeout", "total_timeout"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST_SECONDS):
                raise ValueError(f"{name} must be above 0 and at most {_LONGEST_SECONDS:.0f} s")
        if self.pool_size < 1:
            raise ValueError("pool_size must be at least 1")

    def _check_url(self) -> None:
        url = urlsplit(self.base_url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError("EPAY_BASE_URL must be an http or https URL with a host")
        if url.username or url.password or url.query or url.fragment:
            raise ValueError("EPAY_BASE_URL must hold no user, query or fragment")
        if url.scheme == "http" and not (self.allow_plain_http or _is_loopback(url.hostname)):
            raise ValueError(
                "EPAY_BASE_URL is plain http: anyone on the way could change the answers. "
                "Use https, or set EPAY_ALLOW_PLAIN_HTTP=true for a test host."
            )

    @property
    def api_keys(self) -> tuple[str, ...]:
        """Every key whose signature is accepted, the current one first; never an empty one."""
        keys = (self.api_key, self.previous_api_key)
        return tuple(key.get_secret_value() for key in keys if key and key.get_secret_value())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
