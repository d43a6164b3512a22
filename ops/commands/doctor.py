"""`payouts doctor`: what is wrong with the service, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass

import redis
import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ops.commands.options import Json
from ops.console import as_json, counted, say, when
from ops.gateway import gateway
from shared.clock import utcnow
from shared.config.builders import build_epay_config
from shared.config.settings import Settings, SettingsError, load
from shared.contract import QUEUE_NOTIFY, QUEUE_PARKED, QUEUE_PAYOUTS, QUEUE_RECONCILE
from shared.domain.gateway import NeverSent, OutcomeUnknown, Refused
from shared.observability import health, startup_checks
from shared.storage import migrate, pauses
from shared.storage.engine import make_engine

_HARMLESS_ORDER = "payouts-doctor-0"
_REDIS_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    what: str
    ok: bool
    words: str
    warn: bool = False
    """The check passed, but an operator must know of it."""

    @property
    def mark(self) -> str:
        """The first word of the line."""
        if not self.ok:
            return "FAIL"
        return "WARN" if self.warn else "ok  "


def doctor(json: Json = False) -> None:
    """Check settings, servers, queues, schema, clock, sweep, pauses and gateway.

    FAIL says what to do, and the exit code is 1; WARN is no failure, but you must know of it. The
    gateway is queried for an order that does not exist.
    """
    settings = load()
    findings = [
        *_settings(settings),
        *_redis(settings),
        *_database(settings),
        *_gateway(settings),
    ]
    if json:
        say(as_json([{"what": one.what, "ok": one.ok, "words": one.words} for one in findings]))
    else:
        for one in findings:
            say(f"{one.mark} {one.what}: {one.words}")
    if not all(one.ok for one in findings):
        raise typer.Exit(1)


def _settings(settings: Settings) -> list[Finding]:
    needed = ("database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key")
    try:
        settings.need(*needed)
        build_epay_config(settings)
    except SettingsError as error:
        return [Finding("settings", False, str(error))]
    found = _found("settings", startup_checks.check_settings(settings), "complete and consistent")
    if not settings.epay_not_found_codes:
        words = (
            "EPAY_NOT_FOUND_CODES is empty: a payout whose create was not answered waits for a"
            " person (docs/protocol.md)"
        )
        found.append(Finding("settings", True, words, warn=True))
    return found


def _redis(settings: Settings) -> list[Finding]:
    if not settings.redis_url:
        return []
    try:
        found = _found(
            "redis", startup_checks.check_redis(settings.redis_url), "answers, and never evicts"
        )
        return found + _queues(settings.redis_url)
    except redis.RedisError as error:
        return [Finding("redis", False, f"does not answer at REDIS_URL ({type(error).__name__})")]


def _queues(redis_url: str) -> list[Finding]:
    names = (QUEUE_PAYOUTS, QUEUE_RECONCILE, QUEUE_NOTIFY)
    with redis.Redis.from_url(
        redis_url,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
    ) as client:
        waiting = ", ".join(f"{name} {int(client.llen(name))}" for name in names)
        parked = int(client.llen(QUEUE_PARKED))
    return [
        Finding("messages waiting", True, waiting),
        Finding(
            "parked messages",
            parked == 0,
            f"{parked} could not be processed, and wait on {QUEUE_PARKED}: the workers' log has the"
            " reason, docs/operations.md says what to do"
            if parked
            else "none",
        ),
    ]


def _database(settings: Settings) -> list[Finding]:
    if not settings.database_url:
        return []
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        unsafe = startup_checks.check_database(engine, utcnow())
        fine = f"answers, schema ({migrate.current(engine)}) and clock agree"
        found = _found("postgresql", unsafe, fine)
        return found if unsafe else found + _health(settings, engine) + _pauses(engine)
    except SQLAlchemyError as error:
        words = f"does not answer at DATABASE_URL ({type(error).__name__})"
        return [Finding("postgresql", False, words)]
    finally:
        engine.dispose()


def _health(settings: Settings, engine: Engine) -> list[Finding]:
    snapshot = health.read(engine, utcnow())
    stale = 3 * settings.sweep_seconds + 10
    if snapshot.sweep_age is None:
        sweep = Finding("sweep", False, "never ran: are beat and a reconcile worker running?")
    elif snapshot.sweep_age > stale:
        words = f"last ran {snapshot.sweep_age:.0f} s ago: restart beat and the reconcile workers"
        sweep = Finding("sweep", False, words)
    else:
        sweep = Finding("sweep", True, f"last ran {snapshot.sweep_age:.0f} s ago")
    limit = stale + settings.epay_lease_seconds
    return [
        sweep,
        Finding(
            "oldest due payout",
            snapshot.oldest_due <= limit,
            _waiting(snapshot.oldest_due, limit, "payouts and payouts.reconcile", "none is due"),
        ),
        Finding(
            "oldest message to an app",
            snapshot.oldest_untold <= limit,
            _waiting(snapshot.oldest_untold, limit, "payouts.notify", "all are sent"),
        ),
        Finding(
            "review",
            True,
            f"{counted(snapshot.in_review, 'payout')} in review: see `payouts review`"
            if snapshot.in_review
            else "no payout is in review",
            warn=snapshot.in_review > 0,
        ),
    ]


def _waiting(seconds: float, limit: float, queues: str, nothing: str) -> str:
    if not seconds:
        return nothing
    words = f"waits for {seconds:.0f} s"
    if seconds <= limit:
        return words
    return f"{words}: are there enough workers for {queues}, and is beat running?"


def _pauses(engine: Engine) -> list[Finding]:
    return [
        Finding(
            "pauses",
            True,
            f"{pause.scope}: nothing new is sent since {when(pause.set_at)} UTC, by"
            f" {pause.set_by} ({pause.reason}); `payouts resume` lifts it",
            warn=True,
        )
        for pause in pauses.active(engine)
    ] or [Finding("pauses", True, "none")]


def _gateway(settings: Settings) -> list[Finding]:
    """Query an order that does not exist: harmless, and it checks the authentication."""
    try:
        with gateway(settings) as client:
            answer = client.query(_HARMLESS_ORDER)
    except SettingsError:
        return []
    match answer:
        case NeverSent(reason) | OutcomeUnknown(reason):
            return [Finding("gateway", False, f"no usable answer: {reason}")]
        case Refused(code, message) if code in settings.epay_not_found_codes:
            words = (
                f"answers, authentication OK (code {code}: {message}). A query holds no nested"
                f" value: the first payout shows whether"
                f" EPAY_SIGN_NESTED={settings.epay_sign_nested} is right"
            )
            return [Finding("gateway", True, words)]
        case Refused(code, message):
            words = (
                f"answers code {code}: {message}. If that means `no such order`, add the code to"
                " EPAY_NOT_FOUND_CODES; if it means a wrong signature, check EPAY_API_KEY and"
                " EPAY_SIGN_NESTED"
            )
            return [Finding("gateway", not settings.epay_not_found_codes, words, warn=True)]
        case _:
            return [Finding("gateway", True, "answers, authentication OK")]


def _found(what: str, unsafe: list[str], fine: str) -> list[Finding]:
    return [Finding(what, False, words) for words in unsafe] or [Finding(what, True, fine)]
