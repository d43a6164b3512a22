"""Addresses that cannot work: why, without the address."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.config.urls import fault_of_http_url, fault_of_postgresql_url, fault_of_redis_url

PASSWORD = "s3cret"


@pytest.mark.parametrize(
    ("fault_of", "url", "words"),
    [
        (fault_of_redis_url, f"sentinel://u:{PASSWORD}@h:26379", "name the master itself"),
        (fault_of_redis_url, f"redis+cluster://u:{PASSWORD}@h:1", "name a single Redis"),
        (fault_of_redis_url, f"redis://u:{PASSWORD}@a:1,b:2", "name a single Redis"),
        (fault_of_redis_url, f"amqp://u:{PASSWORD}@h", "must begin with redis://"),
        (fault_of_redis_url, f"redis://u:{PASSWORD}@h:port/0", "port that cannot exist"),
        (fault_of_redis_url, f"redis://u:{PASSWORD}@h/main", "number of a database"),
        (fault_of_redis_url, f"redis://u:{PASSWORD}@h/0?foo=1", "option after ?"),
        (fault_of_redis_url, f"redis://u:{PASSWORD}@h/0?ssl_cert_reqs=required", "need rediss://"),
        (fault_of_redis_url, f"rediss://u:{PASSWORD}@h/0?ssl_foo=1", "unknown"),
        (fault_of_redis_url, f"rediss://u:{PASSWORD}@h?ssl_cert_reqs=CERT_REQUIRED", "unknown"),
        (fault_of_redis_url, f"rediss://u:{PASSWORD}@h?ssl_check_hostname=1", "unknown"),
        (fault_of_redis_url, f"rediss://u:{PASSWORD}@h?ssl_ca_certs=", "unknown"),
        (fault_of_redis_url, f"rediss://u:{PASSWORD}@h?ssl_keyfile=a&ssl_keyfile=b", "twice"),
        (fault_of_postgresql_url, f"mysql://u:{PASSWORD}@h/d", "must begin with postgresql://"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@a:1,b:2/d", "several hosts"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@h:0/d", "port that cannot exist"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@h/d?foo=1", "does not know"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@h/d?port=abc", "cannot exist"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@h/d?port=0", "cannot exist"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@h/d?port=99999", "cannot exist"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@/d?port=1,2", "several hosts"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@/d?host=a,b", "several hosts"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@/d?hostaddr=::1,::2", "several"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@/d?host=a&host=b", "twice"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@h/d?sslmode=on", "not take"),
        (fault_of_postgresql_url, f"postgresql://u:{PASSWORD}@h/d?connect_timeout=3s", "not take"),
        (fault_of_http_url, f"https://u:{PASSWORD}@[::1/capi", "http or https"),
        (fault_of_http_url, f"ftp://u:{PASSWORD}@h/x", "http or https"),
        (fault_of_http_url, f"https:///{PASSWORD}", "with a host"),
    ],
)
def test_the_fault_is_named_and_the_password_is_not(
    fault_of: Callable[[str], str | None], url: str, words: str
) -> None:
    """It goes to a log at start."""
    fault = fault_of(url)
    assert fault is not None
    assert words in fault
    assert PASSWORD not in fault


@pytest.mark.parametrize(
    ("fault_of", "url"),
    [
        (fault_of_redis_url, "redis://"),
        (fault_of_redis_url, "redis://u:p,q@h:6379/3"),
        (fault_of_redis_url, "rediss://h:6380/1?ssl_cert_reqs=required"),
        (fault_of_redis_url, "rediss://h?ssl_ca_certs=/ca.pem&ssl_check_hostname=false"),
        (fault_of_postgresql_url, "postgresql://u:p,q@h:5432/d?sslmode=require"),
        (fault_of_postgresql_url, "postgresql://h/d?sslmode=verify-full&connect_timeout=3&port=5"),
        (fault_of_postgresql_url, "postgresql+psycopg:///d?host=/var/run/postgresql"),
        (fault_of_http_url, "https://payouts.example.com/epay/callback"),
    ],
)
def test_what_works_has_no_fault(fault_of: Callable[[str], str | None], url: str) -> None:
    """Options, passwords and sockets."""
    assert fault_of(url) is None
