"""Configuration of the EPAY client, checked when it is created."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.epay.signing import NestedForm

_LONGEST_SECONDS = 3600.0
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"


def fault_around(text: str) -> str | None:
    """What an editor, a shell or a file left in a setting: white space, a line break, quotes.

    A key with such a character signs every request wrongly, and EPAY refuses all payouts.
    """
    if text != text.strip():
        return "begins or ends with white space or a line break: remove it"
    if not text.isprintable():
        return "holds a line break or another character that cannot be printed: remove it"
    if text.strip(_QUOTES) != text:
        return "begins or ends with a quotation mark: remove the quotation marks"
    return None


@dataclass(frozen=True)
class EpayConfig:
    """Address, account, keys and deadlines of one gateway account. Timeouts are in seconds.

    Raises ValueError for a value that cannot work, and for plain http to another machine: an
    attacker who changes an answer on its way could have a payout paid twice.
    """

    base_url: str
    """Ends in /capi/openapi (epay-gateway section 1)."""
    account: str
    api_key: SecretStr = field(repr=False)
    previous_api_key: SecretStr | None = field(default=None, repr=False)
    """Accepted on answers and callbacks during a key rotation; never used to sign."""
    nested: NestedForm = NestedForm.COMMA
    notify_url: str | None = None
    success_url_method: str | None = None
    """Sent as successUrlMethod only when set; not documented for payouts (section 5)."""
    fail_url_method: str | None = None
    connect_timeout: float = 3.0
    """For name lookup and TCP connect of all addresses together; then for the TLS handshake."""
    read_timeout: float = 20.0
    """Longest silence while waiting for the answer."""
    total_timeout: float = 25.0
    """From the call to the last byte of the answer, however slowly it arrives."""
    demand_response_signature: bool = False
    """Whether an unsigned answer is ignored; samples show an empty sign (section 4.4)."""
    allow_plain_http: bool = False
    idle_seconds: float = 10.0
    """A connection that was idle for longer is not used again: a NAT may have forgotten it."""
    pool_size: int = 32
    """Idle connections kept open; more threads may call, and open a connection for each call."""
    proxy_url: str | None = field(default=None, repr=False)
    """http://[user:password@]host:port of the proxy for all requests (CONNECT for https)."""
    ca_bundle: str | None = None
    """File of the certificate authorities to trust in place of requests' default bundle."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        self._check_url()
        self._check_proxy_url()
        if not self.account:
            raise ValueError("the EPAY account is empty; set EPAY_ACCOUNT")
        if not self.api_key.get_secret_value():
            raise ValueError("the EPAY API key is empty; set EPAY_API_KEY")
        previous = self.previous_api_key.get_secret_value() if self.previous_api_key else ""
        for name, text in (
            ("EPAY account", self.account),
            ("EPAY API key", self.api_key.get_secret_value()),
            ("previous EPAY API key", previous),
        ):
            if fault := fault_around(text):
                raise ValueError(f"the {name} {fault}")
        for name in ("connect_timeout", "read_timeout", "total_timeout", "idle_seconds"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST_SECONDS):
                raise ValueError(f"{name} must be above 0 and at most {_LONGEST_SECONDS:.0f} s")
        if self.pool_size < 1:
            raise ValueError("pool_size must be at least 1")

    def _check_url(self) -> None:
        url = urlsplit(self.base_url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError("EPAY_BASE_URL must be an http or https URL with a host")
        import requests  # noqa: PLC0415 - `payouts --help` does not wait for it

        try:
            requests.Request("POST", self.base_url).prepare()
        except requests.exceptions.InvalidURL as error:
            raise ValueError("EPAY_BASE_URL has a host or port that cannot exist") from error
        if url.username or url.password or url.query or url.fragment:
            raise ValueError("EPAY_BASE_URL must hold no user, query or fragment")
        stays_here = _is_loopback(url.hostname) and not self.proxy_url
        if url.scheme == "http" and not (self.allow_plain_http or stays_here):
            raise ValueError(
                "EPAY_BASE_URL is plain http: anyone on the way could change the answers. "
                "Use https, or set EPAY_ALLOW_PLAIN_HTTP=true for a test host."
            )

    def _check_proxy_url(self) -> None:
        if not self.proxy_url:
            return
        try:
            url = urlsplit(self.proxy_url)
            valid = url.scheme == "http" and url.hostname and url.port != 0
        except ValueError:  # a port that is no number
            valid = False
        if not valid or url.path.strip("/") or url.query or url.fragment:
            raise ValueError("EPAY_PROXY_URL must be http://[user:password@]host:port")

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys whose signatures are accepted, the current one first; none is empty."""
        keys = (self.api_key, self.previous_api_key)
        return tuple(key.get_secret_value() for key in keys if key and key.get_secret_value())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
