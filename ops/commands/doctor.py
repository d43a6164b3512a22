"""`payouts doctor`: what is wrong with the service, and how to mend it."""

from __future__ import annotations

import json as jsons
from dataclasses import dataclass
from typing import Annotated

import redis
import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ops.console import say, when
from shared.clock import utcnow
from shared.config.builders import build_epay_config
from shared.config.settings import Settings, SettingsError, load
from shared.contract import QUEUE_NOTIFY, QUEUE_PARKED, QUEUE_PAYOUTS, QUEUE_RECONCILE
from shared.domain.gateway import NeverSent, OutcomeUnknown, Refused
from shared.epay.client import EpayClient
from shared.observability import health, startup_checks
from shared.storage import migrate, pauses
from shared.storage.engine import make_engine

_HARMLESS_ORDER = "payouts-doctor-0"
_REDIS_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool
    words: str
    note: bool = False
    """Nothing is ill, but who runs the service must know it."""

    @property
    def mark(self) -> str:
        """How the line begins, where a person runs an eye down."""
        if not self.ok:
            return "ILL "
        return "note" if self.note else "ok  "


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at settings, servers, queues, schema, clock, sweep, pauses and gateway; exit 1 if ill.

    What is ill says what to do; `note` is nothing ill, but to be known. The gateway is asked for an
    order that nobody made.
    """
    settings = load()
    findings = [
        *_settings(settings),
        *_redis(settings),
        *_database(settings),
        *_gateway(settings),
    ]
    if json:
        rows = [{"what": one.what, "ok": one.ok, "words": one.words} for one in findings]
        say(jsons.dumps(rows, indent=2))
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
        found.append(Finding("settings", True, words, note=True))
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
    working = (QUEUE_PAYOUTS, QUEUE_RECONCILE, QUEUE_NOTIFY)
    with redis.Redis.from_url(
        redis_url,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
    ) as client:
        lengths = [int(client.llen(name)) for name in (*working, QUEUE_PARKED)]
    *waiting, parked = lengths
    words = ", ".join(f"{name} {length}" for name, length in zip(working, waiting, strict=True))
    return [
        Finding("messages waiting", True, words),
        Finding(
            "parked messages",
            parked == 0,
            f"{parked} could not be worked on, and wait on {QUEUE_PARKED}: the workers' log says"
            " why, docs/operations.md what to do"
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
        return found if unsafe else found + _vitals(settings, engine) + _pauses(engine)
    except SQLAlchemyError as error:
        words = f"does not answer at DATABASE_URL ({type(error).__name__})"
        return [Finding("postgresql", False, words)]
    finally:
        engine.dispose()


def _vitals(settings: Settings, engine: Engine) -> list[Finding]:
    vital = health.read(engine, utcnow())
    stale = 3 * settings.sweep_seconds + 10
    if vital.sweep_age is None:
        sweep = Finding("sweep", False, "none ever ran: are beat and a reconcile worker running?")
    elif vital.sweep_age > stale:
        words = f"the last ran {vital.sweep_age:.0f} s ago: restart beat and the reconcile workers"
        sweep = Finding("sweep", False, words)
    else:
        sweep = Finding("sweep", True, f"the last ran {vital.sweep_age:.0f} s ago")
    patience = stale + settings.epay_lease_seconds
    return [
        sweep,
        Finding(
            "oldest due payout",
            vital.oldest_due <= patience,
            _waits(vital.oldest_due, patience, "payouts and payouts.reconcile", "none is due"),
        ),
        Finding(
            "oldest message to an app",
            vital.oldest_untold <= patience,
            _waits(vital.oldest_untold, patience, "payouts.notify", "all are sent"),
        ),
        Finding(
            "review",
            True,
            f"{vital.in_review} payout(s) need a person: payouts review"
            if vital.in_review
            else "no payout needs a person",
            note=vital.in_review > 0,
        ),
    ]


def _waits(seconds: float, patience: float, queues: str, nothing: str) -> str:
    if not seconds:
        return nothing
    words = f"waits for {seconds:.0f} s"
    if seconds <= patience:
        return words
    return f"{words}: are there enough workers for {queues}, and is beat running?"


def _pauses(engine: Engine) -> list[Finding]:
    """A pause is somebody's will, and no illness; but who wonders must find it here."""
    standing = pauses.active(engine)
    if not standing:
        return [Finding("pauses", True, "none")]
    return [
        Finding(
            "pauses",
            True,
            f"{pause.scope}: nothing new is sent since {when(pause.set_at)} UTC, by"
            f" {pause.set_by} ({pause.reason}); payouts resume ends it",
            note=True,
        )
        for pause in standing
    ]


def _gateway(settings: Settings) -> list[Finding]:
    """Ask for an order that nobody made: harmless, and it shows whether we are understood."""
    try:
        config = build_epay_config(settings)
    except SettingsError:
        return []
    client = EpayClient(config)
    try:
        match client.query(_HARMLESS_ORDER):
            case NeverSent(reason) | OutcomeUnknown(reason):
                return [Finding("gateway", False, f"no answer that can be used: {reason}")]
            case Refused(code, message) if code in settings.epay_not_found_codes:
                words = (
                    f"understands us: key and signature are right (code {code}: {message}). A query"
                    f" holds no nested value: whether EPAY_SIGN_NESTED={settings.epay_sign_nested}"
                    " is right shows in the first payout"
                )
                return [Finding("gateway", True, words)]
            case Refused(code, message):
                words = (
                    f"answers code {code}: {message}. If that means `no such order`, add the code"
                    " to EPAY_NOT_FOUND_CODES; if it means a wrong signature, check EPAY_API_KEY"
                    " and EPAY_SIGN_NESTED"
                )
                return [Finding("gateway", not settings.epay_not_found_codes, words, note=True)]
            case _:
                return [Finding("gateway", True, "understands us")]
    finally:
        client.close()


def _found(what: str, unsafe: list[str], fine: str) -> list[Finding]:
    return [Finding(what, False, words) for words in unsafe] or [Finding(what, True, fine)]
