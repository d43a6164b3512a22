"""The settings: every name of the environment, its default, and what is said of a wrong value."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.config import settings as module
from shared.config.builders import build_epay_config
from shared.config.settings import Settings, SettingsError, load
from tests.support.factories import API_KEY, make_settings
from tests.support.paths import ROOT

ENV_EXAMPLE = ROOT / ".env.example"

PROXY, PROXIES = IPv4Network("192.0.2.1/32"), IPv6Network("2001:db8::/32")

CAPS = {"USD": Decimal(1000), "EUR": Decimal("900.50")}
CASES: list[tuple[str, object, str, object]] = [
    # name, default, text in the environment, value read
    ("DATABASE_URL", "", "postgresql://u@h/d", "postgresql://u@h/d"),
    ("REDIS_URL", "", "redis://h/0", "redis://h/0"),
    ("EPAY_BASE_URL", "", "https://x/capi/openapi", "https://x/capi/openapi"),
    ("EPAY_ACCOUNT", "", "shop@example.com", "shop@example.com"),
    ("EPAY_API_KEY", SecretStr(""), API_KEY, SecretStr(API_KEY)),
    ("EPAY_API_KEY_PREVIOUS", None, API_KEY, SecretStr(API_KEY)),
    ("EPAY_ACCOUNTS_FILE", None, "/etc/a.toml", "/etc/a.toml"),
    ("EPAY_FORMER_HOSTS", (), "Old.example, b:8443", ("old.example", "b:8443")),
    ("EPAY_NOTIFY_URL", None, "https://us/epay/callback", "https://us/epay/callback"),
    ("EPAY_SUCCESS_URL_METHOD", None, "GET", "GET"),
    ("EPAY_FAIL_URL_METHOD", None, "POST", "POST"),
    ("EPAY_SIGN_NESTED", "comma", "java", "java"),
    ("EPAY_DEMAND_RESPONSE_SIGNATURE", False, "true", True),
    ("EPAY_ALLOW_PLAIN_HTTP", False, "1", True),
    ("EPAY_CONNECT_TIMEOUT", 3, "1.5", 1.5),
    ("EPAY_READ_TIMEOUT", 20, "10", 10),
    ("EPAY_TOTAL_TIMEOUT", None, "30", 30),
    ("EPAY_PROXY_URL", None, "http://u:p@proxy:3128", "http://u:p@proxy:3128"),
    ("EPAY_NOT_FOUND_CODES", frozenset(), "404, 405 ,,406", frozenset({"404", "405", "406"})),
    ("EPAY_REFUSED_CODES", frozenset(), "0012", frozenset({"0012"})),
    ("EPAY_DUPLICATE_CODES", frozenset(), "2004", frozenset({"2004"})),
    ("EPAY_SETTLE_SECONDS", 600, "900", 900),
    (
        "EPAY_QUERY_BACKOFF",
        (30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600),
        "1, 2,3",
        (1, 2, 3),
    ),
    ("EPAY_SUBMIT_BACKOFF", (2, 5, 15, 30, 60, 120, 300), "7", (7,)),
    ("EPAY_LEASE_SECONDS", 60, "90", 90),
    ("EPAY_RESEND_HORIZON_SECONDS", 86_400, "3600", 3600),
    ("EPAY_REVIEW_AFTER", 259_200, "60", 60),
    ("EPAY_QUERY_BATCH", 32, "16", 16),
    (
        "EPAY_CALLBACK_EXCLUDED",
        frozenset({"isForward", "payUrl"}),
        "isForward, extra",
        frozenset({"isForward", "extra"}),
    ),
    ("EPAY_CALLBACK_PARSE_MESSAGE", True, "false", False),
    ("CALLBACK_HINTS_PER_MINUTE", 30, "0", 0),
    ("CALLBACK_RATE_LIMIT", "300/second", "5/minute", "5/minute"),
    ("CALLBACK_ALLOWED_NETWORKS", (), "192.0.2.0/24", (IPv4Network("192.0.2.0/24"),)),
    ("TRUSTED_PROXIES", (), "192.0.2.1, 2001:db8::/32", (PROXY, PROXIES)),
    ("BROKER_VISIBILITY_TIMEOUT", 120, "300", 300),
    ("BROKER_ATOMIC_FETCH", "on", "off", "off"),
    ("SWEEP_SECONDS", 5, "0.5", 0.5),
    ("SWEEP_BATCH", 500, "10", 10),
    ("NOTIFY_SECONDS", 1, "2", 2),
    ("CELERY_RESULT_BACKEND", None, "redis://h/1", "redis://h/1"),
    ("WORKER_CONCURRENCY", 32, "8", 8),
    ("DB_POOL_SIZE", 10, "4", 4),
    ("DB_GROUP_COMMIT", "on", "off", "off"),
    ("DB_PATIENCE_SECONDS", 20, "5", 5),
    ("LOG_FORMAT", "console", "json", "json"),
    ("EPAY_CHECK_LIMITS", "off", "on", "on"),
    ("ALLOW_ALIKE", "off", "on", "on"),
    ("EPAY_LIMIT_CATEGORY", "BANK", "CASH", "CASH"),
    ("EPAY_LIMIT_CACHE_SECONDS", 300, "60", 60),
    ("EPAY_MAX_PER_SECOND", None, "50", 50),
    ("CAP_PER_PAYOUT", {}, "USD:1000, EUR:900.50", CAPS),
    ("CAP_PER_DAY", {}, "USD:1000, EUR:900.50", CAPS),
    ("BREAKER_FAILURES", 5, "3", 3),
    ("BREAKER_PAUSE_SECONDS", 5, "1", 1),
    ("BREAKER_LONGEST_PAUSE_SECONDS", 60, "30", 30),
    ("RESOLVE_SECOND_PERSON", False, "true", True),
    ("BOOKS", "on", "off", "off"),
    ("BOOKS_AFTER_SECONDS", 21_600, "60", 60),
    ("BOOKS_SAMPLE", None, "100", 100),
    ("ACCOUNT_ENCRYPTION_KEYS", None, API_KEY, SecretStr(API_KEY)),
]
OF_THE_DESIGN = {
    "DATABASE_URL", "REDIS_URL", "EPAY_BASE_URL", "EPAY_ACCOUNT", "EPAY_API_KEY",
    "EPAY_API_KEY_PREVIOUS", "EPAY_NOTIFY_URL", "EPAY_NOT_FOUND_CODES", "EPAY_REFUSED_CODES",
    "EPAY_SETTLE_SECONDS", "EPAY_QUERY_BACKOFF", "EPAY_LEASE_SECONDS",
    "EPAY_RESEND_HORIZON_SECONDS", "BROKER_VISIBILITY_TIMEOUT", "EPAY_CONNECT_TIMEOUT",
    "EPAY_READ_TIMEOUT", "SWEEP_SECONDS", "EPAY_SIGN_NESTED", "EPAY_CHECK_LIMITS",
    "EPAY_REVIEW_AFTER", "EPAY_DUPLICATE_CODES",
}  # fmt: skip
WORKER = ("database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key")


def failure(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What is said when the settings are wrong."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.parametrize(("name", "default", "text", "value"), CASES, ids=[c[0] for c in CASES])
def test_every_name_is_read(
    name: str, default: object, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its default without it, its value with it."""
    assert getattr(load(), name.lower()) == default
    monkeypatch.setenv(name, text)
    assert getattr(load(), name.lower()) == value


def test_the_names_of_the_design_are_all_there() -> None:
    """And each setting has a case above."""
    names = {name.upper() for name in Settings.model_fields}
    assert names >= OF_THE_DESIGN
    assert not names - {case[0] for case in CASES}


@pytest.mark.parametrize("form", ["comma", "ampersand", "json", "java"])
def test_every_form_of_the_signature(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The four of the design."""
    monkeypatch.setenv("EPAY_SIGN_NESTED", form)
    assert load().epay_sign_nested == form


def test_a_file_is_read_and_the_environment_goes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """.env in the working directory; names that are not ours are left alone."""
    (tmp_path / ".env").write_text("EPAY_ACCOUNT=file\nREDIS_URL=redis://file\nOTHER_APP=1\n")
    monkeypatch.setenv("REDIS_URL", "redis://environment")
    assert (load().epay_account, load().redis_url) == ("file", "redis://environment")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_URL", f"mysql://u:{API_KEY}@h/d"),
        ("DATABASE_URL", f"sqlite:///{API_KEY}"),
        ("REDIS_URL", f"amqp://u:{API_KEY}@h"),
        ("DATABASE_URL", "postgresql://h:port/d"),
        ("DATABASE_URL", "postgresql://h:0/d"),
        ("DATABASE_URL", "postgresql://u:p@a:1,b:2/d"),
        ("DATABASE_URL", "postgresql://h/d?no_such_option=1"),
        ("REDIS_URL", "sentinel://h:26379"),
        ("REDIS_URL", "redis+socket:///x"),
        ("REDIS_URL", "redis+cluster://a:1"),
        ("REDIS_URL", "rediss+cluster://a:1"),
        ("REDIS_URL", "redis://a:1,redis://b:1"),
        ("REDIS_URL", "redisfoo://h"),
        ("REDIS_URL", "redis:/h"),
        ("REDIS_URL", "redis://h:port/0"),
        ("REDIS_URL", "redis://h:99999/0"),
        ("REDIS_URL", "redis://[::1/0"),
        ("REDIS_URL", "redis://h/main"),
        ("REDIS_URL", "redis://h/0?socket_timeout=5"),
        ("REDIS_URL", "redis://h/0?ssl_cert_reqs=required"),
        ("CELERY_RESULT_BACKEND", "rediss://h/0"),
        ("EPAY_BASE_URL", "https://[::1/capi/openapi"),
        ("EPAY_BASE_URL", "api.example/capi/openapi"),
        ("EPAY_BASE_URL", "https://h:y/capi/openapi"),
        ("EPAY_FORMER_HOSTS", "ftp://old.example"),
        ("EPAY_FORMER_HOSTS", "old.example:y"),
        ("EPAY_FORMER_HOSTS", "old.example:80"),
        ("EPAY_FORMER_HOSTS", "https://"),
        ("CELERY_RESULT_BACKEND", "nonsense"),
        ("CELERY_RESULT_BACKEND", "foo://h"),
        ("CELERY_RESULT_BACKEND", "redis://h:port/1"),
        ("EPAY_NOTIFY_URL", "payouts.example.com/epay/callback"),
        ("EPAY_NOTIFY_URL", "ftp://payouts.example.com/x"),
        ("EPAY_NOTIFY_URL", "https:///x"),
        ("CAP_PER_DAY", "USD:1E+1000000"),
        ("EPAY_QUERY_BACKOFF", "99999999999999999"),
        ("EPAY_SUBMIT_BACKOFF", "30,99999999999999999"),
        ("EPAY_MAX_PER_SECOND", "1e-300"),
        ("BOOKS_SAMPLE", "1000000000000000000000000000000"),
        ("BROKER_VISIBILITY_TIMEOUT", "1000000000000000000000000000000"),
        ("CALLBACK_HINTS_PER_MINUTE", "-1"),
        ("CALLBACK_HINTS_PER_MINUTE", "10001"),
        ("CALLBACK_HINTS_PER_MINUTE", "30/minute"),
        ("EPAY_CONNECT_TIMEOUT", "0"),
        ("EPAY_CONNECT_TIMEOUT", "-1"),
        ("EPAY_READ_TIMEOUT", "fast"),
        ("EPAY_TOTAL_TIMEOUT", "0"),
        ("EPAY_SETTLE_SECONDS", "0"),
        ("EPAY_SETTLE_SECONDS", "nan"),
        ("EPAY_LEASE_SECONDS", "-60"),
        ("EPAY_RESEND_HORIZON_SECONDS", "1 day"),
        ("EPAY_REVIEW_AFTER", "0"),
        ("EPAY_QUERY_BACKOFF", ","),
        ("EPAY_QUERY_BACKOFF", "30,0"),
        ("EPAY_QUERY_BACKOFF", "30,-5"),
        ("EPAY_QUERY_BACKOFF", "30,1m"),
        ("EPAY_QUERY_BACKOFF", "0.5"),
        ("EPAY_SUBMIT_BACKOFF", ",,"),
        ("EPAY_SIGN_NESTED", "xml"),
        ("EPAY_CHECK_LIMITS", "maybe"),
        ("EPAY_LIMIT_CATEGORY", "e-wallet"),
        ("EPAY_LIMIT_CACHE_SECONDS", "0"),
        ("EPAY_MAX_PER_SECOND", "0"),
        ("CAP_PER_PAYOUT", "1000"),
        ("CAP_PER_PAYOUT", "USD:1000,USD:2000"),
        ("CAP_PER_PAYOUT", "USD:-5"),
        ("CAP_PER_DAY", "usd:5"),
        ("CAP_PER_DAY", "ÜSD:5"),
        ("CAP_PER_DAY", "USD:NaN"),
        ("BREAKER_FAILURES", "0"),
        ("BREAKER_PAUSE_SECONDS", "-1"),
        ("RESOLVE_SECOND_PERSON", "sometimes"),
        ("BOOKS", "maybe"),
        ("BOOKS_SAMPLE", "0"),
        ("EPAY_SUCCESS_URL_METHOD", "PUT"),
        ("EPAY_FAIL_URL_METHOD", "post"),
        ("EPAY_DEMAND_RESPONSE_SIGNATURE", "perhaps"),
        ("EPAY_ALLOW_PLAIN_HTTP", "2"),
        ("EPAY_QUERY_BATCH", "0"),
        ("EPAY_QUERY_BATCH", "501"),
        ("BROKER_VISIBILITY_TIMEOUT", "0"),
        ("BROKER_VISIBILITY_TIMEOUT", "1.5"),
        ("BROKER_ATOMIC_FETCH", "maybe"),
        ("SWEEP_SECONDS", "0"),
        ("SWEEP_BATCH", "10001"),
        ("NOTIFY_SECONDS", "0"),
        ("WORKER_CONCURRENCY", "0"),
        ("DB_POOL_SIZE", "x"),
        ("DB_GROUP_COMMIT", "maybe"),
        ("ALLOW_ALIKE", "maybe"),
        ("DB_PATIENCE_SECONDS", "-1"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_value_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the name as it stands in the environment."""
    said = failure(monkeypatch, **{name: text})
    assert re.search(rf"^  {name}(\.\d+)?: .+", said, re.MULTILINE)
    assert API_KEY not in said


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("Old.example., older.example:8443", ("old.example", "older.example:8443")),
        ("https://old.example/capi/openapi", ("old.example",)),
        ("http://old.example:80,old.example:443", ("old.example", "old.example")),
        ("http://old.example:443", ("old.example:443",)),
        ("[::1]:8443,[::1]", ("::1:8443", "::1")),
    ],
)
def test_former_hosts_are_written_as_payouts_have_them(
    text: str, hosts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another spelling would never match; what is read once can be read again."""
    monkeypatch.setenv("EPAY_FORMER_HOSTS", text)
    assert load().epay_former_hosts == hosts
    if "http" not in text or ":443" not in text:
        assert Settings(epay_former_hosts=hosts).epay_former_hosts == hosts


AROUND = [" {}", "{} ", "{}\n", "\n{}", "{}\r\n", "\t{}", '"{}"', "'{}'", "\u201c{}\u201d", "`{}`",
          "\ufeff{}", "{}\u200b", "{}\xa0", '"{}', "{}\nEPAY_ACCOUNT=x"]  # fmt: skip
TEXTS = [case for case in CASES if isinstance(case[3], str | SecretStr)]


@pytest.mark.parametrize("around", AROUND, ids=ascii)
@pytest.mark.parametrize(("name", "text"), [(case[0], case[2]) for case in TEXTS])
def test_what_surrounds_a_value_is_refused_by_name(
    name: str, text: str, around: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each secret, address and identifier: a secret with a newline would end every payout."""
    said = failure(monkeypatch, **{name: around.format(text)})
    assert re.search(rf"^  {name}: .+", said, re.MULTILINE)
    assert API_KEY not in said


def test_every_setting_that_is_text_is_checked() -> None:
    """A new one too, without being listed."""
    assert {case[0] for case in TEXTS} >= {
        "DATABASE_URL", "REDIS_URL", "EPAY_BASE_URL", "EPAY_ACCOUNT", "EPAY_API_KEY",
        "EPAY_API_KEY_PREVIOUS", "EPAY_NOTIFY_URL", "EPAY_PROXY_URL", "CELERY_RESULT_BACKEND",
        "ACCOUNT_ENCRYPTION_KEYS",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('EPAY_API_KEY="KEY\\n"', "white space or a line break"),
        ("EPAY_API_KEY='\"KEY\"'", "quotation mark"),
    ],
)
def test_a_key_in_the_file_with_an_escape_is_refused(
    line: str, reason: str, tmp_path: Path
) -> None:
    """In double quotes `.env` turns `\\n` into a line break."""
    (tmp_path / ".env").write_text(f"{line}\n")
    with pytest.raises(SettingsError, match=rf"EPAY_API_KEY: .*{reason}"):
        load()


def test_a_secret_file_may_end_with_a_line_break(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Editors write one; it is not part of the value."""
    (tmp_path / "epay_api_key").write_text("KEY\n")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    assert load().epay_api_key.get_secret_value() == "KEY"


@pytest.mark.parametrize("name", ["EPAY_NOT_FOUND_CODES", "EPAY_REFUSED_CODES"])
@pytest.mark.parametrize("codes", ["2001 2002", "'2001'", '"2001,2002"', "2001,20\n02"])
def test_codes_that_are_not_separated_by_commas_are_refused(
    name: str, codes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`2001 2002` is one code, which EPAY never answers."""
    assert f"  {name}: " in failure(monkeypatch, **{name: codes})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_URL", "postgres://u:p%2Fx@db.example.com:5432/d?sslmode=require"),
        ("DATABASE_URL", "postgresql+psycopg:///d?host=/var/run/postgresql"),
        ("REDIS_URL", "rediss://u:p@h:6380/1?ssl_cert_reqs=required"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://[::1]:6379"),
        ("CELERY_RESULT_BACKEND", "db+postgresql://u@h/d"),
        ("CELERY_RESULT_BACKEND", "rpc://"),
    ],
)
def test_addresses_that_work_are_taken(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options, passwords, sockets and other backends of Celery."""
    monkeypatch.setenv(name, text)
    assert getattr(load(), name.lower()) == text


def test_every_wrong_value_has_its_line_and_none_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A secret in the wrong place stays out of the log."""
    said = failure(
        monkeypatch,
        EPAY_API_KEY=API_KEY,
        EPAY_READ_TIMEOUT=API_KEY,
        EPAY_SIGN_NESTED=API_KEY,
        EPAY_QUERY_BACKOFF=f"30,{API_KEY}",
        WORKER_CONCURRENCY=API_KEY,
    )
    assert API_KEY not in said
    assert len(said.splitlines()) == 5


CODE_LISTS = ["EPAY_NOT_FOUND_CODES", "EPAY_REFUSED_CODES", "EPAY_DUPLICATE_CODES"]


@pytest.mark.parametrize("name", CODE_LISTS)
def test_success_is_no_failure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code 1 as "not found" would have payouts sent twice."""
    said = failure(monkeypatch, **{name: "404,1"})
    assert f"{name} names code 1, which is EPAY's success" in said


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(CODE_LISTS, 2)])
def test_a_code_means_one_thing(one: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not found, refused or a duplicate."""
    said = failure(monkeypatch, **{one: "8,9,7", other: "9,8"})
    assert f"{one} and {other} both name 8, 9" in said


@pytest.mark.parametrize(("lease", "total"), [("30", "30"), ("30", "31")])
def test_a_lease_outlives_the_request(
    lease: str, total: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 1: else a second sender could start while the first is on the wire."""
    said = failure(monkeypatch, EPAY_LEASE_SECONDS=lease, EPAY_TOTAL_TIMEOUT=total)
    assert f"EPAY_LEASE_SECONDS ({lease}) must be above EPAY_TOTAL_TIMEOUT ({total})" in said


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 25),
        ({"EPAY_LEASE_SECONDS": "20"}, 15),
        ({"EPAY_READ_TIMEOUT": "100"}, 45),
        ({"EPAY_CONNECT_TIMEOUT": "1", "EPAY_READ_TIMEOUT": "2"}, 5),
        ({"EPAY_TOTAL_TIMEOUT": "50"}, 50),
    ],
)
def test_the_total_timeout_fits_into_the_lease(
    environment: dict[str, str], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a setting it is worked out."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert settings.total_timeout == seconds < settings.epay_lease_seconds


@pytest.mark.parametrize(
    ("environment", "longest", "max_wait"),
    [
        ({}, 60, 20),
        ({"EPAY_LEASE_SECONDS": "100"}, 100, 10),
        ({"BROKER_VISIBILITY_TIMEOUT": "70"}, 60, 5),
        ({"BROKER_VISIBILITY_TIMEOUT": "10"}, 60, 1),
        ({"DB_PATIENCE_SECONDS": "3"}, 60, 3),
    ],
)
def test_waiting_for_the_database_ends_before_the_message_comes_back(
    environment: dict[str, str],
    longest: float,
    max_wait: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of what the broker's visibility timeout leaves beside the longest task."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert (settings.longest_task, settings.database_wait) == (longest, max_wait)


def test_what_is_missing_is_named_with_what_to_do() -> None:
    """One line each, and only those."""
    with pytest.raises(SettingsError) as caught:
        Settings(redis_url="redis://h").need(*WORKER)
    lines = str(caught.value).splitlines()
    assert lines[0] == "not set in the environment or .env:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "DATABASE_URL", "EPAY_BASE_URL", "EPAY_ACCOUNT", "EPAY_API_KEY",
    ]  # fmt: skip


def test_what_is_there_is_not_missing() -> None:
    """It returns itself, so that it can be chained."""
    settings = make_settings()
    assert settings.need(*WORKER) is settings


def test_every_setting_that_a_process_needs_has_an_example() -> None:
    """No newcomer is left without one."""
    assert set(module._EXAMPLES) == set(WORKER)


def test_the_key_is_in_no_text() -> None:
    """Neither in the settings' own nor in the client's configuration."""
    settings = make_settings(epay_api_key_previous=SecretStr(API_KEY + "-old"))
    config = build_epay_config(settings)
    for text in (repr(settings), str(settings), repr(config), str(settings.model_dump())):
        assert API_KEY not in text


def test_settings_cannot_be_changed() -> None:
    """A process decides by one set of them."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().epay_account = "x"  # type: ignore[misc]


def test_the_example_file_names_every_setting_and_no_other() -> None:
    """`.env.example`, commented out or not."""
    text = ENV_EXAMPLE.read_text(encoding="utf-8")
    named = re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)
