"""The startup checks of a worker: what they refuse, and what they say about it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from alembic.util import CommandError
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError, OperationalError
from structlog.testing import capture_logs

from devstack.binaries import postgres_program, redis_program
from devstack.ports import free_port
from devstack.postgres import FAST_UNSAFE, LocalPostgres
from devstack.process import ChildProcess
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from devstack.wait import wait_for
from shared.clock import utcnow
from shared.config.builders import name_policy
from shared.config.settings import Settings, SettingsError
from shared.domain import lifecycle
from shared.observability import health, startup_checks
from shared.storage import journal_audit, migrate
from shared.storage.encryption import NO_ENCRYPTION
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from shared.storage.policy_record import fingerprint
from tests.support.drill import TIMES
from tests.support.factories import make_service_payout
from tests.support.service import ACCOUNT, API_KEY, PROGRAMS, bare_environment
from worker import startup

EXIT_SECONDS = 90


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


@pytest.fixture(scope="module")
def broker() -> Iterator[LocalRedis]:
    """A Redis of our own: its configuration is changed."""
    with LocalRedis() as server:
        yield server


@pytest.fixture
def evicting(broker: LocalRedis) -> Iterator[LocalRedis]:
    """A Redis that throws messages away when it is full."""
    with redis.Redis.from_url(broker.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield broker
        client.config_set("maxmemory-policy", "noeviction")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, pool_size=1)
    yield engine
    engine.dispose()


def test_redis_that_never_evicts(broker: LocalRedis) -> None:
    """Our own Redis is set up as a broker should be."""
    assert startup_checks.check_redis(broker.url) == []


def test_redis_that_evicts(evicting: LocalRedis) -> None:
    """A Redis that evicts is refused, with the setting that mends it."""
    (found,) = startup_checks.check_redis(evicting.url)
    assert "maxmemory-policy allkeys-lru" in found
    assert "Set `maxmemory-policy noeviction`." in found


def info_of(monkeypatch: pytest.MonkeyPatch, **fields: str) -> None:
    """Redis answers INFO with these fields."""
    monkeypatch.setattr(redis.Redis, "info", lambda _: fields)


@pytest.mark.parametrize(
    ("version", "safe"),
    [("6.0.16", False), ("6.2.0", True), ("6.2", True), ("8.0-rc1", True), ("10.0.1", True)],
)
def test_redis_below_6_2_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, version: str, safe: bool
) -> None:
    """The worker's fetch needs BLMOVE; the text names the version found."""
    info_of(monkeypatch, redis_version=version)
    found = startup_checks.check_redis("redis://127.0.0.1:1/0")
    assert (found == []) is safe
    assert safe or "Redis 6.0.16 is too old" in found[0]


def test_valkey_is_named_by_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """INFO of a Valkey also has the version of the Redis that it is compatible with."""
    info_of(monkeypatch, redis_version="7.2.4", server_name="valkey", valkey_version="9.1.0")
    assert startup_checks.check_redis("redis://127.0.0.1:1/0") == []
    assert startup_checks.describe_redis("redis://127.0.0.1:1/0") == "Valkey 9.1.0"


def test_redis_that_is_a_cluster(tmp_path: Path) -> None:
    """A node of a cluster is known by what it says of itself, whatever the URL looks like."""
    port = next(port for port in iter(free_port, None) if port < 55_000)  # its bus is at + 10000
    options = ["--port", str(port), "--cluster-enabled", "yes", "--save", "", "--dir", tmp_path]
    command = [str(redis_program()), *map(str, options)]
    child = ChildProcess(command, tmp_path / "redis.log", cwd=tmp_path)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        wait_for(lambda: _answers(url), 60, "the cluster's node")
        (found,) = startup_checks.check_redis(url)
    finally:
        child.kill()
    assert "Redis runs as a cluster" in found


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def test_migrated_database(engine: Engine) -> None:
    """A migrated database whose clock agrees is safe."""
    assert startup_checks.check_database(engine, utcnow()) == []


@pytest.mark.parametrize(("seconds", "side"), [(60, "ahead of"), (-60, "behind")])
def test_clock_skew(engine: Engine, seconds: int, side: str) -> None:
    """Two clocks that disagree make leases mean nothing: refused, either way."""
    began = utcnow()
    (found,) = startup_checks.check_database(engine, began + timedelta(seconds=seconds))
    took = (utcnow() - began).total_seconds()
    told = re.search(r"is ([0-9]+\.[0-9]) s (ahead of|behind) the database's", found)
    assert told, found
    assert told[2] == side
    ahead = float(told[1]) if side == "ahead of" else -float(told[1])
    assert seconds - took - 0.05 <= ahead <= seconds + 0.05, "rounded to 0.1 s"
    assert "Synchronise both (NTP)." in found


@pytest.mark.parametrize("seconds", [3, -3])
def test_small_clock_skew(engine: Engine, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds are no reason to stand still."""
    read = replace(health.read(engine, utcnow()), clock_ahead=float(seconds))
    monkeypatch.setattr(health, "read", lambda *_: read)
    assert startup_checks.check_database(engine, utcnow()) == []


def test_empty_database(empty_database_url: str) -> None:
    """A database without the schema is refused, with the command that makes it."""
    engine = make_engine(empty_database_url, pool_size=1)
    try:
        (found,) = startup_checks.check_database(engine, utcnow())
    finally:
        engine.dispose()
    assert "schema (none) is behind this code" in found
    assert "Run `payouts migrate`." in found


def test_a_server_that_loses_commits_is_refused() -> None:
    """Law 11: fsync and full_page_writes; and our sessions wait for the disk, whatever is set."""
    settings = {**FAST_UNSAFE, "synchronous_commit": "off"}
    with LocalPostgres(settings=settings) as server:
        url = server.create_database("unsafe")
        migrate.upgrade(url)
        engine = make_engine(url, pool_size=1)
        try:
            found = startup_checks.check_database(engine, utcnow())
            with engine.connect() as connection:
                waits = connection.execute(text("SHOW synchronous_commit")).scalar_one()
        finally:
            engine.dispose()
    assert [words.split(":")[0] for words in found] == [
        "PostgreSQL runs with fsync=off",
        "PostgreSQL runs with full_page_writes=off",
    ]
    assert "Set fsync=on." in found[0]
    assert waits == "on"


def test_a_standby_that_is_not_waited_for_is_named(tmp_path: Path) -> None:
    """Law 11: no problem, but a promoted standby may lack the newest payouts."""
    with LocalPostgres(settings=FAST_UNSAFE) as server, ExitStack() as stack:
        engine = make_engine(server.url, pool_size=1)
        stack.callback(engine.dispose)
        assert startup_checks.note_database(engine) == []
        program = str(postgres_program().with_name("pg_receivewal"))
        command = [program, "-D", str(tmp_path), "-d", server.url, "--no-sync"]
        standby = ChildProcess(command, tmp_path.with_suffix(".log"), cwd=tmp_path)
        stack.callback(standby.kill)
        streams = text("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")

        def is_streaming() -> bool:
            with engine.connect() as connection:
                return bool(connection.execute(streams).scalar_one())

        wait_for(is_streaming, 60, "the standby to stream")
        (note,) = startup_checks.note_database(engine)
        assert "synchronous_standby_names is empty" in note
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ALTER SYSTEM SET synchronous_standby_names = '*'"))
            connection.execute(text("SELECT pg_reload_conf()"))
        wait_for(lambda: not startup_checks.note_database(engine), 60, "the setting to be read")
        assert is_streaming()


def test_database_newer_than_the_code(engine: Engine) -> None:
    """While a newer release is rolled out, the old code goes on."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_tomorrow'"))
    with pytest.raises(CommandError):
        startup_checks.migrate.has("9999_tomorrow")
    assert startup_checks.check_database(engine, utcnow()) == []


def test_passed_checks_log_the_servers_and_versions(
    broker: LocalRedis, database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the broker and PostgreSQL as they name themselves."""
    monkeypatch.setattr(startup, "log", structlog.get_logger())
    with capture_logs() as logs:
        startup.run_startup_checks(settings(redis_url=broker.url, database_url=database_url))
    with redis.Redis.from_url(broker.url) as client:
        info = client.info()
    with engine.connect() as connection:
        version = connection.execute(text("SHOW server_version")).scalar_one()
    (passed,) = logs
    assert passed["event"] == "startup_checks_passed"
    assert passed["redis"] in {
        f"Redis {info['redis_version']}",
        f"Valkey {info.get('valkey_version')}",
    }
    assert version.startswith(passed["postgresql"])
    assert passed["postgresql"]


def test_a_worker_records_the_policy_that_it_runs(
    broker: LocalRedis, database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says which settings differ from those of the worker before it."""
    with redis.Redis.from_url(broker.url) as client:
        client.flushdb()
    monkeypatch.setattr(startup, "log", structlog.get_logger())
    here = {"redis_url": broker.url, "database_url": database_url, "epay_api_key": API_KEY}
    first = settings(**here, epay_settle_seconds=700)
    second = settings(**here, epay_settle_seconds=700, resolve_second_person=True)
    changed = []
    for wanted in (first, first, second):
        with capture_logs() as logs:
            startup.run_startup_checks(wanted)
        changed += [entry["settings"] for entry in logs if entry["event"] == "policy_changed"]
    assert changed == [["RESOLVE_SECOND_PERSON"]]
    with engine.connect() as connection:
        (row,) = connection.execute(text("SELECT * FROM payout_policy")).all()
    assert row.settings == name_policy(second)
    assert row.fingerprint == fingerprint(name_policy(second))
    assert API_KEY not in str(row)


def test_another_deployments_redis_ends_the_worker(
    broker: LocalRedis, database_url: str, empty_database_url: str
) -> None:
    """F2: the first worker owns it; one of another account and database does not start."""
    migrate.upgrade(empty_database_url)
    with redis.Redis.from_url(broker.url) as client:
        client.flushdb()
        here = {"redis_url": broker.url, "database_url": database_url}
        startup.run_startup_checks(settings(**here, epay_account="shop@example.com"))
        there = here | {"database_url": empty_database_url}
        with pytest.raises(SystemExit, match="belongs to another deployment"):
            startup.run_startup_checks(settings(**there, epay_account="staging@example.com"))
        client.flushdb()


def test_worker_waits_for_its_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is waited for, and that is told once for each."""
    away = iter([redis.ConnectionError(), redis.TimeoutError(), redis.ConnectionError()])
    gone = iter([OperationalError("SELECT", None, Exception())] * 2)

    def look(errors: Iterator[Exception], *_: object) -> list[str]:
        for error in errors:
            raise error
        return []

    monkeypatch.setattr(startup, "log", structlog.get_logger())
    monkeypatch.setattr(startup, "_RETRY_SECONDS", 0)
    monkeypatch.setattr(startup_checks, "check_redis", lambda *_: look(away))
    monkeypatch.setattr(startup_checks, "check_database", lambda *_: look(gone))
    monkeypatch.setattr(startup_checks, "note_database", lambda _: [])
    monkeypatch.setattr(startup, "check_deployment", lambda *_: [])
    monkeypatch.setattr(startup_checks, "describe_redis", lambda _: "Redis 7.0.15")
    monkeypatch.setattr(startup_checks, "describe_database", lambda _: "16.4")
    monkeypatch.setattr(startup, "record_policy", lambda *_: [])
    monkeypatch.setattr(startup_checks, "unconfigured_accounts", lambda *_: [])
    monkeypatch.setattr(startup, "_adopt_gateways", lambda *_: None)
    wanted = settings(redis_url="redis://127.0.0.1/0", database_url="postgresql://127.0.0.1/none")
    with capture_logs() as logs:
        startup.run_startup_checks(wanted)
    *waits, passed = logs
    assert [(entry["server"], entry["error"]) for entry in waits] == [
        ("Redis", "ConnectionError"),
        ("PostgreSQL", "OperationalError"),
    ]
    assert passed["event"] == "startup_checks_passed"
    assert (passed["redis"], passed["postgresql"]) == ("Redis 7.0.15", "16.4")


def test_worker_does_not_wait_for_what_never_heals(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that time does not mend ends the start."""

    def look(*_: object) -> list[str]:
        raise DataError("SELECT", None, Exception("no such value"))

    monkeypatch.setattr(startup_checks, "check_redis", lambda _: [])
    monkeypatch.setattr(startup_checks, "check_database", look)
    with pytest.raises(DataError):
        startup.run_startup_checks(settings(database_url="postgresql://127.0.0.1/none"))


def test_a_failed_check_ends_the_worker(
    evicting: LocalRedis,
    postgres: LocalPostgres,
    database_url: str,
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    """For each failed check the worker exits with an error that names the fix."""
    with LocalRedis() as good, ProcessGroup() as processes:
        fine = {
            **bare_environment(),
            **TIMES,
            "REDIS_URL": good.url,
            "DATABASE_URL": database_url,
            "EPAY_BASE_URL": "http://127.0.0.1:1/capi/openapi",
            "EPAY_ACCOUNT": ACCOUNT,
            "EPAY_API_KEY": API_KEY,
        }
        unsafe = {
            "Set `maxmemory-policy noeviction`.": {"REDIS_URL": evicting.url},
            "Run `payouts migrate`.": {"DATABASE_URL": empty_database_url},
            "Raise it, or lower EPAY_LEASE_SECONDS": {"BROKER_VISIBILITY_TIMEOUT": "4"},
        }
        command = [str(PROGRAMS / "celery"), "-A", "worker", "worker", "-Q", "payouts"]
        started = {
            mend: processes.start(mend, command, fine | changes, tmp_path / f"{nth}.log")
            for nth, (mend, changes) in enumerate(unsafe.items())
        }
        for mend, process in started.items():
            code = wait_for(lambda one=process: one.returncode, EXIT_SECONDS, f"exit: {mend}")
            said = process.log_path.read_text()
            assert code not in {0, None}, said
            assert "The payout worker does not start: startup checks failed:" in said
            assert mend in said
            assert " ready." not in said
            assert "Traceback" not in said
            assert os.fspath(PROGRAMS) not in said


@pytest.fixture
def secretive(broker: LocalRedis) -> Iterator[str]:
    """The URL of a user of Redis who may do everything but look at its configuration."""
    with redis.Redis.from_url(broker.url) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">pa55word", "~*", "&*", "+@all",
                               "-info")  # fmt: skip
        yield broker.url.replace("redis://", "redis://app:pa55word@")
        client.execute_command("ACL", "DELUSER", "app")


@pytest.mark.parametrize(("part", "program"), [("worker", "payout worker"), ("beat", "beat")])
def test_a_check_that_itself_fails_ends_the_process(
    secretive: str, database_url: str, tmp_path: Path, part: str, program: str
) -> None:
    """Celery swallows an Exception of a signal handler, and would start without the checks."""
    environment = {
        **bare_environment(),
        "REDIS_URL": secretive,
        "DATABASE_URL": database_url,
        "EPAY_BASE_URL": "http://127.0.0.1:1/capi/openapi",
        "EPAY_ACCOUNT": ACCOUNT,
        "EPAY_API_KEY": API_KEY,
    }
    with ProcessGroup() as processes:
        command = [str(PROGRAMS / "celery"), "-A", "worker", part]
        command += ["-s", str(tmp_path / "schedule")] if part == "beat" else []
        process = processes.start(part, command, environment, tmp_path / "log")
        code = wait_for(lambda: process.returncode, EXIT_SECONDS, "exit")
        said = process.log_path.read_text()
    assert code not in {0, None}, said
    assert f"The {program} does not start: NoPermissionError: " in said
    assert "Traceback" not in said
    assert "pa55word" not in said


def test_an_error_at_start_is_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line, where it was raised, and nothing that the settings keep secret."""
    secret = "s3cr/t"
    monkeypatch.setattr(
        startup,
        "load",
        lambda: settings(
            epay_api_key=API_KEY,
            account_encryption_keys="first, second",
            redis_url="redis://:s3cr%2Ft@h/0",
        ),
    )
    with pytest.raises(SystemExit) as ended, startup.exit_on_error("beat"):
        raise ValueError(f"{API_KEY}, {secret}, second, s3cr%2Ft\n[parameters: ...]")
    assert str(ended.value).startswith("The beat does not start: ValueError: ***, ***, ***, *** (")
    assert "test_startup.py, line " in str(ended.value)
    assert "parameters" not in str(ended.value)


def test_a_wrong_setting_at_start_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="does not start: REDIS_URL") as ended:
        startup.exit_on_error("worker")(_refuse)()
    assert ended.value.__suppress_context__
    monkeypatch.setattr(startup, "load", _refuse)
    with pytest.raises(SystemExit, match="not shown"), startup.exit_on_error("worker"):
        raise ValueError(API_KEY)


def _refuse() -> None:
    raise SettingsError("REDIS_URL is wrong")


def test_what_is_not_configured_is_named_and_the_rest_adopts_its_gateway(
    broker: LocalRedis, engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open payouts of earlier releases have no gateway; another account's stay as they are."""
    with redis.Redis.from_url(broker.url) as client:
        client.flushdb()
    store, now = PayoutStore(engine), utcnow()
    for order_no, account in (("ours", "Shop@Example.com"), ("theirs", "sandbox@example.com")):
        payout = make_service_payout(order_no, now, epay_account=account)
        store.insert([lifecycle.accept_queued(payout, now=now)])
    monkeypatch.setattr(startup, "log", structlog.get_logger())
    wanted = settings(
        redis_url=broker.url,
        database_url=database_url,
        epay_account="shop@example.com",
        epay_base_url="https://gateway.example/capi/openapi",
    )
    for _ in range(2):
        with capture_logs() as logs:
            startup.run_startup_checks(wanted)
        [warning] = [entry for entry in logs if entry["event"] == "account_not_configured"]
        assert warning["words"].startswith("open payouts that wait: 1; the account sandbox@")
    ours = store.find("Shop@Example.com", "ours")
    theirs = store.find("sandbox@example.com", "theirs")
    assert ours is not None
    assert theirs is not None
    assert (ours.epay_gateway, ours.sequence) == ("gateway.example", 2)
    assert (theirs.epay_gateway, theirs.sequence) == (None, 1)
    assert not [found for found in journal_audit.audit_chains(engine, NO_ENCRYPTION) if found]
