"""What makes an address unusable, in words that do not hold it: it may have a password. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import SplitResult, parse_qsl, urlsplit

_NO_PORT = "has a host or port that cannot exist"
_SEVERAL_HOSTS = "names several hosts: name one"
_HIGHEST_PORT = 65_535
_TLS: Mapping[str, frozenset[str] | None] = MappingProxyType(
    {
        "ssl_cert_reqs": frozenset({"required", "optional", "none"}),
        "ssl_check_hostname": frozenset({"true", "false"}),
        "ssl_ca_certs": None,
        "ssl_certfile": None,
        "ssl_keyfile": None,
    }
)
"""The options of TLS that Celery and our own clients both understand -> their values; None: any."""
_NUMBERS = frozenset(
    {
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
    }
)
_SSLMODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})


def fault_of_redis_url(url: str) -> str | None:
    """Why neither Celery nor our own clients can use the address of a Redis, or None."""
    if url.startswith("sentinel://"):
        return "sentinel:// is not supported: name the master itself, redis://host:6379/0"
    if url.startswith(("redis+cluster://", "rediss+cluster://")) or _names_several_hosts(url):
        return (
            "names a cluster. Celery's Redis transport cannot use one; name a single Redis that is"
            " the broker's own."
        )
    if not url.startswith(("redis://", "rediss://")):
        return "must begin with redis:// or rediss://"
    parts = _split(url)
    return _NO_PORT if parts is None else _fault_of_redis_parts(parts)


def _fault_of_redis_parts(parts: SplitResult) -> str | None:
    database = parts.path.removeprefix("/")
    if database and not (database.isascii() and database.isdigit()):
        return "must end with the number of a database, for example /0"
    options = _options(parts.query)
    if parts.scheme == "redis" and options != {}:
        return (
            "has an option after ?: those of TLS (ssl_...) need rediss://, and there are no others"
        )
    if options is None or not all(map(_is_of_tls, options, options.values())):
        known = "; ".join(f"{name}={'|'.join(sorted(of or ['...']))}" for name, of in _TLS.items())
        return f"has an option after ? that is unknown, or stands there twice: known are {known}"
    return None


def _is_of_tls(name: str, value: str) -> bool:
    return bool(value) and name in _TLS and value in (_TLS[name] or {value})


def fault_of_postgresql_url(url: str) -> str | None:
    """Why the address of a PostgreSQL cannot be used, or None."""
    if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        return "must begin with postgresql://"
    if _names_several_hosts(url):
        return _SEVERAL_HOSTS
    if (parts := _split(url)) is None:
        return _NO_PORT
    return _fault_of_options(parts.query) if parts.query else None


def _fault_of_options(query: str) -> str | None:
    from psycopg import Error  # noqa: PLC0415 - few addresses have options
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    options = _options(query)
    if options is None:
        return "has the same option after ? twice"
    if any("," in options.get(name, "") for name in ("host", "hostaddr", "port")):
        return _SEVERAL_HOSTS
    port = options.get("port", "1")
    if not _is_number(port) or not 0 < int(port) <= _HIGHEST_PORT:
        return _NO_PORT
    numbers = (options[name] for name in _NUMBERS & options.keys())
    if not all(map(_is_number, numbers)) or options.get("sslmode", "require") not in _SSLMODES:
        return "has an option after ? with a value that PostgreSQL does not take"
    try:
        conninfo_to_dict(f"postgresql:///?{query}")
    except Error:
        return "has an option after ? that PostgreSQL does not know"
    return None


def _options(query: str) -> dict[str, str] | None:
    """The options by name; None if one stands there twice: two readers would differ."""
    pairs = parse_qsl(query, keep_blank_values=True)
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def fault_of_http_url(url: str) -> str | None:
    """Why nobody can call the address, or None."""
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return "must be an http or https URL with a host"
    return None


def _names_several_hosts(url: str) -> bool:
    """A password may have a comma."""
    return "," in url.partition("://")[2].rpartition("@")[2].partition("/")[0]


def _split(url: str) -> SplitResult | None:
    """The parts, or None if the host or the port is none."""
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            return None
    except ValueError:
        return None
    return parts
