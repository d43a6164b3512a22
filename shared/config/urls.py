"""What makes an address unusable, in words that do not hold it: it may have a password. Pure."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

_NO_PORT = "has a host or port that cannot exist"
_SEVERAL_HOSTS = "names several hosts: name one"
_HIGHEST_PORT = 65_535
_TLS = re.compile(
    "ssl_cert_reqs=(required|optional|none)|ssl_check_hostname=(true|false)"
    "|ssl_(ca_certs|certfile|keyfile)=.+"
)
"""The options of TLS that Celery and our own clients both understand."""
_POSTGRESQL = re.compile(
    "(connect_timeout|keepalives(_idle|_interval|_count)?|tcp_user_timeout)=[0-9]+"
    "|sslmode=(disable|allow|prefer|require|verify-ca|verify-full)"
    "|(?!connect_timeout|keepalives|tcp_user_timeout|sslmode).*"
)
"""The options of PostgreSQL, those that are numbers or a word with a value that it takes."""


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
    if options is None or not all(_TLS.fullmatch(f"{one}={options[one]}") for one in options):
        return (
            "has an option after ? that is unknown, or stands there twice. Known are ssl_cert_reqs"
            " (required, optional, none), ssl_check_hostname (true, false) and the files"
            " ssl_ca_certs, ssl_certfile, ssl_keyfile"
        )
    return None


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
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
        return _NO_PORT
    if not all(_POSTGRESQL.fullmatch(f"{one}={options[one]}") for one in options):
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
