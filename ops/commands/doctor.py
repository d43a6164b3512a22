"""`payouts doctor`: what is wrong with the service, and how to fix it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from typer import Exit

from ops.commands.options import Json
from ops.console import as_json, counted, say, when
from ops.gateway import gateway
from shared.clock import utcnow
from shared.config.accounts import account_settings
from shared.config.builders import build_accounts, build_epay_config
from shared.config.settings import Settings, SettingsError, load
from shared.contract import QUEUE_NOTIFY, QUEUE_PARKED, QUEUE_PAYOUTS, QUEUE_RECONCILE
from shared.domain.gateway import NeverSent, OutcomeUnknown, Refused
from shared.observability import health, startup_checks
from shared.storage import migrate, pauses
from shared.storage.engine import make_engine

_HARMLESS_ORDER = "payouts-doctor-0"
_REDIS_TIMEOUT_SECONDS = 5

_OK, _WARN, _FAIL = "ok  ", "WARN", "FAIL"
"""The first word of a line; WARN: the check passed, but an operator must know of it."""


class Finding(NamedTuple):
    """The result of one check."""

    what: str
    words: str
    mark: str = _OK

    @property
    def ok(self) -> bool:
        """Whether the check passed."""
        return self.mark != _FAIL


def doctor(json: Json = False) -> None:
    """Check settings, servers, queues, schema, clock, sweep, pauses and gateway.

    FAIL says what to do, and the exit code is 1; WARN is no failure, but you must know of it. The
    gateway is queried for an order that does not exist.
    """
    settings = load()
    findings = [
        *_settings(settings),
        *_redis(settings.redis_url),
        *_database(settings),
        *_gateway(settings),
    ]
    if json:
        say(as_json([{"what": one.what, "ok": one.ok, "words": one.words} for one in findings]))
    else:
        for one in findings:
            say(f"{one.mark} {one.what}: {one.words}")
    if not all(one.ok for one in findings):
        raise Exit(1)


def _settings(settings: Settings) -> list[Finding]:
    needed = ("database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key")
    try:
        settings.need(*needed)
        for one in account_settings(settings):
            build_epay_config(one)
    except SettingsError as error:
        return [Finding("settings", str(error), _FAIL)]
    found = _found("settings", startup_checks.check_settings(settings), "complete and consistent")
    if not settings.epay_not_found_codes:
        words = (
            "EPAY_NOT_FOUND_CODES is empty: a payout whose create was not answered waits for a"
            " person (docs/protocol.md)"
        )
        found.append(Finding("settings", words, _WARN))
    return found


def _redis(url: str) -> list[Finding]:
    if not url:
        return []
    try:
        found = _found("redis", startup_checks.check_redis(url), "answers, and never evicts")
        return found + _queues(url)
    except redis.RedisError as error:
        words = f"does not answer at REDIS_URL ({type(error).__name__})"
        return [Finding("redis", words, _FAIL)]


def _queues(url: str) -> list[Finding]:
    seconds = _REDIS_TIMEOUT_SECONDS
    with redis.Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=seconds
    ) as client:
        names = (QUEUE_PAYOUTS, QUEUE_RECONCILE, QUEUE_NOTIFY)
        waiting = ", ".join(f"{name} {int(client.llen(name))}" for name in names)
        parked = int(client.llen(QUEUE_PARKED))
    words = (
        f"{parked} could not be processed, and wait on {QUEUE_PARKED}: the workers' log has the"
        " reason, docs/operations.md says what to do"
    )
    return [
        Finding("messages waiting", waiting),
        *_found("parked messages", [words] if parked else [], "none"),
    ]


def _database(settings: Settings) -> list[Finding]:
    if not settings.database_url:
        return []
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        unsafe = startup_checks.check_database(engine, utcnow())
        fine = f"answers, schema ({migrate.current(engine)}) and clock agree"
        found = _found("postgresql", unsafe, fine)
        return (
            found
            if unsafe
            else found + _accounts(settings, engine) + _health(settings, engine) + _pauses(engine)
        )
    except SQLAlchemyError as error:
        words = f"does not answer at DATABASE_URL ({type(error).__name__})"
        return [Finding("postgresql", words, _FAIL)]
    finally:
        engine.dispose()


def _accounts(settings: Settings, engine: Engine) -> list[Finding]:
    if not (settings.epay_account or settings.epay_accounts_file):
        return []
    waiting = startup_checks.unconfigured_accounts(engine, build_accounts(settings))
    return _found("accounts", waiting, "every open payout belongs to a configured account")


def _health(settings: Settings, engine: Engine) -> list[Finding]:
    snapshot = health.read(engine, utcnow())
    stale = 3 * settings.sweep_seconds + 10
    if snapshot.sweep_age is None:
        sweep = Finding("sweep", "never ran: are beat and a reconcile worker running?", _FAIL)
    elif snapshot.sweep_age > stale:
        words = f"last ran {snapshot.sweep_age:.0f} s ago: restart beat and the reconcile workers"
        sweep = Finding("sweep", words, _FAIL)
    else:
        sweep = Finding("sweep", f"last ran {snapshot.sweep_age:.0f} s ago")
    review = Finding("review", "no payout is in review")
    if snapshot.in_review:
        words = f"{counted(snapshot.in_review, 'payout')} in review: see `payouts review`"
        review = Finding("review", words, _WARN)
    limit = stale + settings.epay_lease_seconds
    due, untold = snapshot.oldest_due, snapshot.oldest_untold
    return [
        sweep,
        _wait("oldest due payout", due, limit, "payouts and payouts.reconcile", "none is due"),
        _wait("oldest message to an app", untold, limit, "payouts.notify", "all are sent"),
        review,
    ]


def _wait(what: str, seconds: float, limit: float, queues: str, nothing: str) -> Finding:
    if not seconds:
        return Finding(what, nothing)
    words = f"waits for {seconds:.0f} s"
    if seconds <= limit:
        return Finding(what, words)
    hint = f"are there enough workers for {queues}, and is beat running?"
    return Finding(what, f"{words}: {hint}", _FAIL)


def _pauses(engine: Engine) -> list[Finding]:
    return [
        Finding(
            "pauses",
            f"{pause.scope}: nothing new is sent since {when(pause.set_at)} UTC, by"
            f" {pause.set_by} ({pause.reason}); `payouts resume` lifts it",
            _WARN,
        )
        for pause in pauses.active(engine)
    ] or [Finding("pauses", "none")]


def _gateway(settings: Settings) -> list[Finding]:
    """Query an order that does not exist: harmless, and it checks the authentication."""
    try:
        every = account_settings(settings)
    except SettingsError:
        return []
    return [found for one in every for found in _gateway_of(one, several=len(every) > 1)]


def _gateway_of(settings: Settings, *, several: bool) -> list[Finding]:
    what = f"gateway of {settings.epay_account}" if several else "gateway"
    try:
        with gateway(settings) as client:
            answer = client.query(_HARMLESS_ORDER)
    except SettingsError:
        return []
    words, mark = "answers, authentication OK", _OK
    match answer:
        case NeverSent(reason) | OutcomeUnknown(reason):
            words, mark = f"no usable answer: {reason}", _FAIL
        case Refused(code, message) if code in settings.epay_not_found_codes:
            words += (
                f" (code {code}: {message}). A query holds no nested value: the first payout shows"
                f" whether EPAY_SIGN_NESTED={settings.epay_sign_nested} is right"
            )
        case Refused(code, message):
            words = (
                f"answers code {code}: {message}. If that means `no such order`, add the code to"
                " EPAY_NOT_FOUND_CODES; if it means a wrong signature, check EPAY_API_KEY and"
                " EPAY_SIGN_NESTED"
            )
            mark = _FAIL if settings.epay_not_found_codes else _WARN
    return [Finding(what, words, mark)]


def _found(what: str, unsafe: Sequence[str], fine: str) -> list[Finding]:
    return [Finding(what, words, _FAIL) for words in unsafe] or [Finding(what, fine)]
