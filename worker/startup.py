"""Startup of a worker, before its first message: wait for the servers, then check them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import redis
import structlog
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from shared.clock import utcnow
from shared.config.accounts import account_settings
from shared.config.builders import build_accounts, build_cipher, build_policy, name_policy
from shared.config.settings import Settings, SettingsError, load
from shared.domain import lifecycle
from shared.domain.payout import PayoutState, Transition
from shared.observability import startup_checks
from shared.redis_client import RedisClient, RedisUnavailable
from shared.storage.engine import is_transient, make_engine
from shared.storage.payout_store import PayoutStore
from shared.storage.policy_record import fingerprint, record_policy
from worker.deployment import make_watch

log = structlog.get_logger(__name__)

T = TypeVar("T")

_RETRY_SECONDS = 1.0
_ADOPTED_AT_ONCE = 500


@contextmanager
def exit_on_error(program: str) -> Iterator[None]:
    """Make every error the end of the program; also a decorator.

    Celery logs an Exception of a signal handler and goes on: the program would run unchecked.

    Raises:
        SystemExit: in place of any Exception; the text holds no secret of the settings.
    """
    try:
        yield
    except SettingsError as error:
        raise SystemExit(f"The {program} does not start: {error}") from None
    except Exception as error:  # noqa: BLE001 - whatever it is, Celery would go on
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = _redact(str(error).strip().partition("\n")[0])
        raise SystemExit(
            f"The {program} does not start: {type(error).__name__}: {words}"
            f" ({Path(place.filename).name}, line {place.lineno})"
        ) from None


def _redact(text: str) -> str:
    """The text without the secrets that the settings hold."""
    try:
        values = [value for one in account_settings(load()) for _, value in one]
    except SettingsError:
        return "(not shown: the settings cannot be read)"
    secrets = {""}
    for value in values:
        if isinstance(value, SecretStr):
            secrets |= {part.strip() for part in value.get_secret_value().split(",")}
        elif isinstance(value, str) and "://" in value:
            password = urlsplit(value).password or ""
            secrets |= {password, unquote(password)}
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def run_startup_checks(
    settings: Settings, program: str = "payout worker", *, is_worker: bool = True
) -> None:
    """Wait until Redis and PostgreSQL answer, check them, log their versions.

    Args:
        is_worker: False for beat: it writes no times, so that a wrong clock is only logged, and its
            settings decide nothing, so that they are not recorded.

    Raises:
        SystemExit: a check failed; the text says what is wrong and how to fix it.
    """
    url = settings.redis_url
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        problems = (
            startup_checks.check_settings(settings)
            or _wait_for("Redis", lambda: startup_checks.check_redis(url))
            or _wait_for("PostgreSQL", lambda: _check_database(engine, is_worker))
            or _wait_for("Redis", lambda: check_deployment(settings, engine, is_worker))
        )
        if problems:
            lines = "\n".join(f"  - {problem}" for problem in problems)
            raise SystemExit(f"The {program} does not start: startup checks failed:\n{lines}")
        for note in _wait_for("PostgreSQL", lambda: startup_checks.note_database(engine)):
            log.warning("startup_check_note", note=note)
        if is_worker:
            _wait_for("PostgreSQL", lambda: _take_over(settings, engine))
        log.info(
            "startup_checks_passed",
            redis=_wait_for("Redis", lambda: startup_checks.describe_redis(url)),
            postgresql=_wait_for("PostgreSQL", lambda: startup_checks.describe_database(engine)),
        )
    finally:
        engine.dispose()


def _take_over(settings: Settings, engine: Engine) -> None:
    """Put the settings that this worker decides by on record, and say which payouts they miss."""
    _adopt_gateways(settings, engine)
    for words in startup_checks.unconfigured_accounts(engine, build_accounts(settings)):
        log.warning("account_not_configured", words=words)
    policy = name_policy(settings)
    if changed := record_policy(engine, policy, utcnow()):
        log.warning("policy_changed", settings=changed, fingerprint=fingerprint(policy))


def _adopt_gateways(settings: Settings, engine: Engine) -> None:
    """Record the gateway of open payouts that were accepted before gateways were (law 10)."""
    store, policy, last_id = PayoutStore(engine, build_cipher(settings)), build_policy(settings), 0

    def decide(payout: PayoutState) -> Transition | None:
        return lifecycle.adopt_gateway(payout, now=utcnow(), policy=policy)

    while ids := store.ids_without_gateway(last_id, _ADOPTED_AT_ONCE):
        store.update_many(ids, decide)
        last_id = ids[-1]


def check_deployment(settings: Settings, engine: Engine, is_worker: bool = True) -> list[str]:
    """Problems of the deployment's identity; a worker puts one on record if there is none.

    Raises:
        RedisUnavailable: Redis does not answer.
    """
    client = RedisClient(settings.redis_url)
    try:
        watch = make_watch(settings, engine, client)
        problem = watch.start() if is_worker else watch.compare()
    finally:
        client.close()
    return [] if problem is None else [problem]


def _check_database(engine: Engine, is_worker: bool) -> list[str]:
    if is_worker:
        return startup_checks.check_database(engine, utcnow())
    behind = startup_checks.check_schema(engine)
    for problem in [] if behind else startup_checks.check_clock(engine, utcnow()):
        log.warning("clocks_disagree", problem=problem)
    return behind or startup_checks.check_durability(engine)


def _wait_for(name: str, ask: Callable[[], T]) -> T:
    logged = False
    while True:
        try:
            return ask()
        except (
            redis.ConnectionError,
            redis.TimeoutError,
            RedisUnavailable,
            SQLAlchemyError,
        ) as error:
            if isinstance(error, SQLAlchemyError) and not is_transient(error):
                raise
            if not logged:
                log.warning("waiting_for_server", server=name, error=type(error).__name__)
                logged = True
            time.sleep(_RETRY_SECONDS)
